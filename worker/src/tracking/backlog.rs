//! Which end is tried next, and when: a pure function of the results of earlier tries.
//!
//! An end that failed is tried again after 1 s, doubled at each failure up to 30 s. When the tracker itself seems to be
//! away, ends are tried one at a time, after the same pauses; the first that succeeds wakes all that failed meanwhile.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use events::{Fence, JobId};
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many ends are brought into the tracker at once.
pub(super) const AT_ONCE: usize = 8;

/// An end that waits: the job and the run.
pub(super) type End = (JobId, Fence);

/// The result of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    /// The tracker has it.
    Settled,
    /// The tracker was away.
    Away,
    /// Something is wrong with this one.
    Failed,
}

/// The ends that are under way and those that have failed.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    under_way: HashSet<End>,
    failed: HashMap<End, Wait>,
    outage: Option<Wait>,
    /// Those of the ends under way that were begun to see whether the outage is over.
    probes: HashSet<End>,
    /// How many tries have succeeded, and how many had when each that is under way began.
    settled: u64,
    settled_before: HashMap<End, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    due: Instant,
    pause: Duration,
    /// Whether the tracker was away when it failed.
    in_outage: bool,
}

impl Wait {
    fn after(before: Option<&Self>, now: Instant, jitter: f64, in_outage: bool) -> Self {
        let pause = before.map_or(FIRST_PAUSE, |wait| (wait.pause * 2).min(LONGEST_PAUSE));
        Self { due: now + pause.mul_f64(jitter).min(LONGEST_PAUSE), pause, in_outage }
    }
}

impl Backlog {
    /// How many more ends may be begun now.
    pub(super) fn room(&self, now: Instant) -> usize {
        match &self.outage {
            Some(outage) if now < outage.due => 0,
            // What was begun before may be long on its way, and tells nothing.
            Some(_) => 1_usize.saturating_sub(self.probes.len()),
            None => AT_ONCE.saturating_sub(self.under_way.len()),
        }
    }

    /// Whether an end may be begun now.
    pub(super) fn is_due(&self, end: &End, now: Instant) -> bool {
        !self.under_way.contains(end) && self.failed.get(end).is_none_or(|wait| now >= wait.due)
    }

    /// Since when an end that has failed before may be tried again; none of one that has not: those go first.
    pub(super) fn due(&self, end: &End) -> Option<Instant> {
        self.failed.get(end).map(|wait| wait.due)
    }

    /// Whether the tracker seems to be away.
    pub(super) const fn is_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// Notes that an end was begun.
    pub(super) fn begin(&mut self, end: End) {
        self.settled_before.insert(end.clone(), self.settled);
        if self.outage.is_some() {
            self.probes.insert(end.clone());
        }
        self.under_way.insert(end);
    }

    /// Notes the result of a try.
    pub(super) fn note(&mut self, end: &End, what: Try, now: Instant, jitter: f64) {
        self.under_way.remove(end);
        self.probes.remove(end);
        let settled_before = self.settled_before.remove(end).unwrap_or(self.settled);
        match what {
            Try::Settled => {
                self.failed.remove(end);
                self.note_answer();
            }
            Try::Failed => self.fail(end, now, jitter, false),
            // It can't be away if it took another meanwhile.
            Try::Away => {
                let in_outage = settled_before == self.settled;
                if in_outage {
                    // Those that fail beside the first tell nothing new.
                    let still = self.outage.filter(|outage| now < outage.due);
                    self.outage = still.or_else(|| Some(Wait::after(self.outage.as_ref(), now, jitter, true)));
                }
                self.fail(end, now, jitter, in_outage);
            }
        }
    }

    /// Notes that the tracker took something: what failed because it was away need wait no longer.
    pub(super) fn note_answer(&mut self) {
        self.settled += 1;
        if self.outage.take().is_some() {
            self.failed.retain(|_, wait| !wait.in_outage);
            self.probes.clear();
        }
    }

    /// Forgets all that was under way: it was broken off.
    pub(super) fn drop_under_way(&mut self) {
        self.under_way.clear();
        self.probes.clear();
        self.settled_before.clear();
    }

    fn fail(&mut self, end: &End, now: Instant, jitter: f64, in_outage: bool) {
        let wait = Wait::after(self.failed.get(end), now, jitter, in_outage);
        self.failed.insert(end.clone(), wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(number: u8) -> End {
        let id = format!("0192f1c3a4b57c6d8e9fa0b1c2d3e4{number:02x}");
        (id.parse().unwrap(), format!("{number:024x}").parse().unwrap())
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_end_that_fails_waits_for_longer_and_longer_and_keeps_no_other() {
        let (mut backlog, mut now) = (Backlog::default(), Instant::now());
        for (pause, jitter) in [(1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0), (16, 1.0), (30, 1.0), (30, 1.2)] {
            backlog.begin(end(1));
            assert!(!backlog.is_due(&end(1), now), "it is under way");
            backlog.note(&end(1), Try::Failed, now, jitter);
            assert!(!backlog.is_due(&end(1), now + seconds(pause) - Duration::from_millis(1)));
            assert_eq!(backlog.room(now), AT_ONCE);
            now += seconds(pause);
            assert!(backlog.is_due(&end(1), now));
        }
    }

    #[test]
    fn in_an_outage_one_is_tried_at_a_time_and_the_first_success_wakes_the_rest() {
        let (mut backlog, mut now) = (Backlog::default(), Instant::now());
        for number in 0..3 {
            backlog.begin(end(number));
        }
        for number in 0..3 {
            backlog.note(&end(number), Try::Away, now, 1.0);
        }
        for pause in [1, 2, 4, 8, 16, 30] {
            assert_eq!(backlog.room(now), 0);
            now += seconds(pause);
            assert_eq!(backlog.room(now), 1);
            backlog.begin(end(9));
            assert_eq!(backlog.room(now), 0);
            backlog.note(&end(9), Try::Away, now, 1.0);
        }
        assert!(!backlog.is_due(&end(9), now), "it has failed just now");
        backlog.begin(end(8));
        backlog.note(&end(8), Try::Settled, now, 1.0);
        assert_eq!(backlog.room(now), AT_ONCE);
        assert!((0..3).chain([9]).all(|number| backlog.is_due(&end(number), now)));
    }

    #[test]
    fn what_is_long_on_its_way_keeps_nobody_from_seeing_that_the_outage_is_over() {
        let (mut backlog, mut now) = (Backlog::default(), Instant::now());
        backlog.begin(end(1));
        backlog.begin(end(2));
        backlog.note(&end(2), Try::Away, now, 1.0);
        now += seconds(1);
        assert_eq!(backlog.room(now), 1);
        backlog.begin(end(3));
        assert_eq!(backlog.room(now), 0);
        backlog.note_answer();
        assert_eq!(backlog.room(now), AT_ONCE - 2);
    }

    #[test]
    fn what_fails_while_others_succeed_is_no_outage() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.begin(end(1));
        backlog.begin(end(2));
        backlog.note(&end(2), Try::Settled, now, 1.0);
        backlog.note(&end(1), Try::Away, now, 1.0);
        assert!(!backlog.is_outage());
        assert!(!backlog.is_due(&end(1), now), "it waits by itself");
    }
}
