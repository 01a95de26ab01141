//! The pauses between attempts to open a connection.

use std::time::Duration;

use events::ports::Ids;

use crate::ids::SystemIds;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// 50 ms, then doubled up to 2 s, each times jitter. It never ends.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The pause before the next attempt.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.0.mul_f64(SystemIds.jitter());
        self.0 = (self.0 * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_go_on_for_ever() {
        let mut backoff = Backoff::default();
        let pauses: Vec<f64> = (0..100).map(|_| backoff.next_pause().as_secs_f64()).collect();
        assert!((0.04..=0.06).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[10..].iter().all(|pause| (1.6..=2.4).contains(pause)), "{pauses:?}");
    }
}
