//! Whether and when a private Redis that ended is started again: a pure function of how its starts went.

use std::process::ExitStatus;
use std::time::Duration;

/// How many starts in a row may fail.
pub(super) const MOST_FAILURES: usize = 3;
/// The pauses before the first, the second and the third start in a row.
const PAUSES: [Duration; MOST_FAILURES] = [Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(5)];
/// A server that ends with an error so soon after it had loaded its data counts as one that could not be started.
const SOON: Duration = Duration::from_secs(10);

/// The starts that failed in a row.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    failures: usize,
}

impl Restarts {
    /// Notes that a server ended this long after it had loaded its data. One that was asked to end, or was killed, is
    /// none that failed.
    pub(super) fn note_end(&mut self, status: Option<ExitStatus>, lived: Duration) {
        let failed = status.is_some_and(|status| status.code().is_some_and(|code| code != 0));
        self.failures = if failed && lived < SOON { self.failures + 1 } else { 0 };
    }

    /// Notes that a server could not be started.
    pub(super) fn note_failure(&mut self) {
        self.failures += 1;
    }

    /// Whether it is not started again.
    pub(super) const fn are_given_up(&self) -> bool {
        self.failures >= MOST_FAILURES
    }

    /// The pause before the next start; none if there is none.
    pub(super) fn next_pause(&self) -> Option<Duration> {
        PAUSES.get(self.failures).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const KILLED: i32 = 9;
    const EXIT_1: i32 = 1 << 8;

    #[test]
    fn three_failed_starts_in_a_row_are_the_end() {
        let mut restarts = Restarts::default();
        for pause in PAUSES {
            assert_eq!(restarts.next_pause(), Some(pause));
            restarts.note_failure();
        }
        assert!(restarts.are_given_up() && restarts.next_pause().is_none());
    }

    #[test]
    fn a_server_that_fails_soon_after_each_start_is_given_up_and_one_that_is_killed_is_not() {
        let (failed, killed) = (Some(ExitStatus::from_raw(EXIT_1)), Some(ExitStatus::from_raw(KILLED)));
        let mut restarts = Restarts::default();
        for _ in 0..20 {
            restarts.note_end(killed, Duration::ZERO);
            assert_eq!(restarts.next_pause(), Some(PAUSES[0]));
        }
        restarts.note_end(failed, Duration::ZERO);
        restarts.note_end(failed, SOON);
        assert_eq!(restarts.next_pause(), Some(PAUSES[0]), "it had worked for a while");
        for _ in 0..MOST_FAILURES {
            assert!(!restarts.are_given_up());
            restarts.note_end(failed, Duration::ZERO);
        }
        assert!(restarts.are_given_up());
    }
}
