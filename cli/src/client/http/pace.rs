//! How often to ask: quickly while there is news, slowly while there is none.

use std::time::Duration;

const FASTEST: Duration = Duration::from_millis(200);
const SLOWEST: Duration = Duration::from_secs(1);

/// The delay between two polls: 200 ms after news, then half as much again each time, up to 1 s.
#[derive(Debug)]
pub(crate) struct Pace {
    delay: Duration,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { delay: FASTEST }
    }

    pub(crate) fn news(&mut self) {
        self.delay = FASTEST;
    }

    pub(crate) fn next_delay(&mut self) -> Duration {
        let now = self.delay;
        self.delay = (now * 3 / 2).min(SLOWEST);
        now
    }
}

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// The delay before try `n` (from 0) at a server that is away: 0.5 s, 1 s, 2 s, 4 s, 8 s, then 15 s.
pub(crate) fn retry_delay(n: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_slow_down_and_news_speed_them_up() {
        let mut pace = Pace::new();
        let delays: Vec<u128> = (0..6).map(|_| pace.next_delay().as_millis()).collect();
        assert_eq!(delays, [200, 300, 450, 675, 1_000, 1_000]);
        pace.news();
        assert_eq!(pace.next_delay(), FASTEST);
    }

    #[test]
    fn retries_follow_the_schedule() {
        let delays: Vec<u128> = [0, 1, 2, 3, 4, 5, 40].map(|n| retry_delay(n).as_millis()).into();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
    }
}
