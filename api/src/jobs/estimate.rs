//! An estimate of when a pending job will start.

use std::time::Duration;

use crate::class_capacity::ClassCapacity;

/// Estimates in how many seconds a job starts if `ahead` jobs of its class are before it.
///
/// If `f` of the `s` slots of a class are free, the first `f` jobs start at once. Any other job waits until
/// `n = ahead − f + 1` runs have ended. Where a run takes `d` seconds on average, one of `s` ends every `d / s`
/// seconds; so the estimate is `⌈n · d / s⌉`, and 0 if `ahead < f`.
///
/// `None` if unknown: no worker serves the class, or a run has to end first and none has ended recently. Jobs of
/// other classes that the same workers serve are not foreseen.
pub(super) fn seconds_to_start(ahead: u64, capacity: &ClassCapacity) -> Option<u64> {
    if capacity.workers == 0 || capacity.slots == 0 {
        return None;
    }
    let free = capacity.slots.saturating_sub(capacity.busy);
    let Some(runs_to_end) = (ahead + 1).checked_sub(free).filter(|runs| *runs > 0) else {
        return Some(0);
    };
    let wait = capacity.mean_run_s? * runs_to_end as f64 / capacity.slots as f64;
    Some(whole_seconds(Duration::try_from_secs_f64(wait).ok()?))
}

/// The seconds of a duration, a begun one counted whole.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(slots: u64, busy: u64, mean_run_s: Option<f64>) -> ClassCapacity {
        ClassCapacity { workers: 1, slots, busy, mean_run_s, unfit: None }
    }

    #[test]
    fn a_free_slot_is_taken_at_once_whatever_runs_take() {
        for mean in [None, Some(60.0)] {
            assert_eq!(seconds_to_start(0, &capacity(1, 0, mean)), Some(0));
            assert_eq!(seconds_to_start(2, &capacity(4, 1, mean)), Some(0));
        }
    }

    #[test]
    fn others_wait_for_as_many_ends_as_it_takes() {
        assert_eq!(seconds_to_start(0, &capacity(1, 1, Some(60.0))), Some(60));
        assert_eq!(seconds_to_start(2, &capacity(1, 1, Some(60.0))), Some(180));
        assert_eq!(seconds_to_start(2, &capacity(1, 0, Some(60.0))), Some(120));
        assert_eq!(seconds_to_start(5, &capacity(4, 4, Some(60.0))), Some(90));
        assert_eq!(seconds_to_start(0, &capacity(4, 4, Some(0.1))), Some(1), "a begun second counts");
    }

    #[test]
    fn what_nobody_knows_is_not_told() {
        assert_eq!(seconds_to_start(0, &capacity(2, 2, None)), None);
        assert_eq!(seconds_to_start(2, &capacity(2, 0, None)), None);
        assert_eq!(seconds_to_start(0, &ClassCapacity { mean_run_s: Some(60.0), ..ClassCapacity::default() }), None);
        assert_eq!(seconds_to_start(u64::MAX - 1, &capacity(1, 1, Some(f64::MAX))), None);
    }
}
