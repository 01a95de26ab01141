//! Waiting out an outage: told once when it begins, once when it is over, with longer and longer pauses between.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An outage that something may meet. The pauses are 50 ms, then doubled up to 5 s, times jitter.
pub(crate) struct Outage {
    what: &'static str,
    since: Option<Instant>,
    pause: Duration,
}

impl Outage {
    /// None so far, of what is described as in "… fails".
    pub(crate) const fn of(what: &'static str) -> Self {
        Self { what, since: None, pause: FIRST_PAUSE }
    }

    /// Notes that it failed again.
    pub(crate) fn note(&mut self, error: &impl Display) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::warn!(error = format!("{error:#}"), "{} fails; trying again until it works", self.what);
        }
    }

    /// Notes that it failed again, and waits before the next try.
    pub(crate) async fn pause(&mut self, error: &impl Display, jitter: f64) {
        self.note(error);
        sleep(self.pause.mul_f64(jitter)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Notes that it worked.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(seconds, "{} works again", self.what);
        }
        self.pause = FIRST_PAUSE;
    }
}
