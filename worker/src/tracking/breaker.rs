//! Sparing jobs the wait for a tracker that is known to be away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long no job waits for a tracker that failed one.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// A circuit breaker: after a failure no job waits for the tracker for a while, or until it answered somebody.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    open_until: Mutex<Option<Instant>>,
    answered: AtomicBool,
}

impl Breaker {
    /// Whether a job may wait for the tracker.
    pub(crate) fn is_closed(&self) -> bool {
        self.open_until.lock().is_ok_and(|until| until.is_none_or(|until| Instant::now() >= until))
    }

    /// Notes that the tracker was away.
    pub(crate) fn open(&self) {
        self.set(Some(Instant::now() + OPEN_FOR));
    }

    /// Notes that it answered.
    pub(crate) fn close(&self) {
        self.answered.store(true, Ordering::Relaxed);
        self.set(None);
    }

    /// Whether it answered somebody since this was asked last.
    pub(crate) fn take_answer(&self) -> bool {
        self.answered.swap(false, Ordering::Relaxed)
    }

    fn set(&self, until: Option<Instant>) {
        if let Ok(mut open_until) = self.open_until.lock() {
            *open_until = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_no_job_waits_for_half_a_minute_or_until_the_tracker_answered() {
        let breaker = Breaker::default();
        assert!(breaker.is_closed());
        breaker.open();
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(!breaker.is_closed());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(breaker.is_closed());
        breaker.open();
        breaker.close();
        assert!(breaker.is_closed());
    }
}
