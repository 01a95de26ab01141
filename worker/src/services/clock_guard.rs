//! Whether a clock that can be set goes as this process's own does, which nobody can set.

use std::time::Duration;

use events::Timestamp;
use tokio::time::Instant;

/// How far a clock may run ahead of this process's own.
const TOLERANCE: Duration = Duration::from_hours(1);
/// How long a clock must have been where it jumped to before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_hours(24);

/// What is irreversible is not done by a clock that has just jumped ahead.
#[derive(Debug, Default)]
pub(crate) struct ClockGuard {
    /// A time of the clock, and when it showed that.
    anchor: Option<(Instant, Timestamp)>,
}

impl ClockGuard {
    /// Whether the clock that shows `now` has not jumped ahead within the last day, as far as this process has seen.
    pub(crate) fn trusts(&mut self, now: Timestamp) -> bool {
        let (since, at) = *self.anchor.get_or_insert_with(|| (Instant::now(), now));
        if since.elapsed() >= BELIEVED_AFTER {
            self.anchor = Some((Instant::now(), now));
            return true;
        }
        let passed = (now - at).to_std().unwrap_or_default();
        passed.saturating_sub(since.elapsed()) <= TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumped_ahead_is_believed_after_a_day() {
        let mut steady = ClockGuard::default();
        let month = Duration::from_hours(30 * 24);
        let mut now = Timestamp::default();
        assert!(steady.trusts(now));
        let hours = Duration::from_hours(5);
        tokio::time::advance(hours).await;
        now += hours;
        assert!(steady.trusts(now), "time went on");
        assert!(steady.trusts(now - month), "what is early removes nothing");
        assert!(!steady.trusts(now + month), "it jumped");
        assert!(steady.trusts(now), "it was set right");
        tokio::time::advance(Duration::from_hours(20)).await;
        assert!(steady.trusts(now + month), "it has been so for long");
    }
}
