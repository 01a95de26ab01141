//! Waiting for what a limit allows later: a slot, or a place in the hour.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::http::error::ClientError;
use crate::client::output::{human, screen};

/// The waits between tries while only the end of a job makes room: they grow by half, from the first to the longest. None
/// is shorter than the server asks for.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT_FOR_A_JOB: Duration = Duration::from_secs(10);
/// The longest wait between two tries in any case: a job may end earlier than is known.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How long a server that has answered may be away.
const LONGEST_ABSENCE: Duration = Duration::from_mins(5);
/// How often the time that is shown is brought up to date.
const TICK: Duration = Duration::from_secs(1);

/// Words of limits that time or the end of a job lifts. Stored bytes are none of them: somebody has to delete something.
const LIFTED_BY_ITSELF: [&str; 5] = ["running", "queued", "jobs_per_hour", "uploads_per_hour", "uploads_in_flight"];

/// Whether waiting helps against this refusal.
pub(crate) fn is_lifted_by_itself(error: &ClientError) -> bool {
    matches!(error, ClientError::Limited { code, .. } if LIFTED_BY_ITSELF.contains(&code.as_str()))
}

/// Tries again until no limit is in the way, and tells why and for how long it has waited.
pub(crate) async fn wait<T>(mut attempt: impl AsyncFnMut() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let begun = Instant::now();
    let mut told = String::new();
    let mut away_since: Option<Instant> = None;
    let mut pause = FIRST_WAIT;
    loop {
        let error = match attempt().await {
            Err(error) if is_lifted_by_itself(&error) => {
                away_since = None;
                error
            }
            Err(error @ ClientError::Away { .. })
                if !told.is_empty() && away_since.get_or_insert_with(Instant::now).elapsed() < LONGEST_ABSENCE =>
            {
                error
            }
            done => return done,
        };
        let (reason, retry_after) = match error {
            ClientError::Limited { sentence, retry_after, .. } | ClientError::Away { sentence, retry_after } => {
                (sentence, pause.max(retry_after.unwrap_or_default()))
            }
            other => return Err(other),
        };
        let reason = reason.trim_end_matches('.').to_owned();
        if told != reason {
            screen::note(&format!("waiting: {reason}"));
            told = reason;
        }
        let next = Instant::now() + retry_after.clamp(TICK, LONGEST_WAIT);
        pause = (pause * 3 / 2).min(LONGEST_WAIT_FOR_A_JOB);
        let spinner = screen::spinner("");
        while Instant::now() < next {
            spinner.set_message(format!("waiting for {}", human::duration(begun.elapsed())));
            sleep(TICK.min(next - Instant::now())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn limited(code: &str, seconds: u64) -> ClientError {
        let retry_after = Some(Duration::from_secs(seconds));
        ClientError::Limited { sentence: format!("{code}."), code: code.to_owned(), retry_after }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_limited_is_tried_again_when_the_server_says() {
        let begun = Instant::now();
        let tries = Cell::new(0);
        let done = wait(async || {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 => Err(limited("running", 10)),
                2 => Err(ClientError::Away { sentence: "gone.".to_owned(), retry_after: None }),
                3 => Err(limited("jobs_per_hour", 754)),
                tries => Ok(tries),
            }
        });
        assert_eq!(done.await.unwrap(), 4);
        assert_eq!(begun.elapsed().as_millis(), 10_000 + 1_500 + 60_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_looked_for_often_at_first_and_no_oftener_than_the_server_asks() {
        for (asked, wanted) in [(1, [1_000, 1_500, 2_250, 3_375, 5_062, 7_593, 10_000, 10_000]), (4, [4_000; 8])] {
            let (mut before, mut waits) = (Instant::now(), Vec::new());
            let done = wait(async || {
                waits.push(before.elapsed().as_millis());
                before = Instant::now();
                if waits.len() > 8 { Ok(()) } else { Err(limited("running", asked)) }
            });
            done.await.unwrap();
            let wanted = wanted.map(|wait| wait.max(u128::from(asked) * 1_000));
            let grown = |at: usize| [0, 0, 0, 0, 5_062, 7_593, 10_000, 10_000][at];
            let wanted: Vec<u128> = wanted.iter().enumerate().map(|(at, wait)| (*wait).max(grown(at))).collect();
            assert!(waits[1..].iter().zip(&wanted).all(|(wait, wanted)| wait.abs_diff(*wanted) <= 2), "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waiting_does_not_help_is_told_at_once() {
        for error in ["stored_bytes", ""] {
            let tries = Cell::new(0);
            let done = wait(async || {
                tries.set(tries.get() + 1);
                Err::<(), _>(limited(error, 10))
            });
            assert!(done.await.is_err());
            assert_eq!(tries.get(), 1);
        }
        let away = wait(async || Err::<(), _>(ClientError::Away { sentence: "gone.".to_owned(), retry_after: None }));
        assert!(away.await.is_err(), "a server that has never answered is not waited for");
    }
}
