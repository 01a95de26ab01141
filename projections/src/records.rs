//! The records of a metric: each job that was better than all before it. They stay when their jobs expire.

use events::time::from_unix_micros;
use events::{Order, Standing};

use crate::board::member;

/// The records of a metric in one order. What is left depends on which jobs were added, not on the order of that: jobs
/// may be noted in another order than they completed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    order: Order,
    /// By time, and so from the worst to the best.
    standings: Vec<Standing>,
}

impl Records {
    /// None yet.
    #[must_use]
    pub const fn new(order: Order) -> Self {
        Self { order, standings: vec![] }
    }

    /// Whether a job would be a record among those that are known.
    #[must_use]
    pub fn takes(&self, standing: &Standing) -> bool {
        self.beats_all_before(self.place(standing), standing)
    }

    /// Adds a job, if it is a record; what it precedes and beats is none any more.
    pub fn add(&mut self, standing: Standing) {
        let place = self.place(&standing);
        if !self.beats_all_before(place, &standing) {
            return;
        }
        let beaten =
            self.standings[place..].iter().take_while(|later| !self.order.is_better(later.value, standing.value));
        let end = place + beaten.count();
        self.standings.splice(place..end, [standing]);
    }

    /// From the first to the newest, which is the best.
    #[must_use]
    pub fn into_standings(self) -> Vec<Standing> {
        self.standings
    }

    /// From the first to the newest, which is the best.
    pub fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.standings.iter()
    }

    fn place(&self, standing: &Standing) -> usize {
        let key = |standing: &Standing| (standing.completed_at, standing.job);
        self.standings.partition_point(|other| key(other) < key(standing))
    }

    fn beats_all_before(&self, place: usize, standing: &Standing) -> bool {
        place == 0 || self.order.is_better(standing.value, self.standings[place - 1].value)
    }
}

/// The member of a job in the sorted set of records: when it completed, its id, and whose it was.
#[must_use]
pub fn store(standing: &Standing) -> String {
    format!("{}-{}", member(standing.completed_at, standing.job), standing.user)
}

/// What a member and its score tell.
#[must_use]
pub fn read(member: &str, value: f64) -> Option<Standing> {
    let mut parts = member.splitn(3, '-');
    let completed_at = from_unix_micros(i64::from_str_radix(parts.next()?, 16).ok()?);
    let (job, user) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Standing { user, value, completed_at, job })
}

#[cfg(test)]
mod tests {
    use events::JobId;

    use super::*;

    fn standing(at: i64, value: f64) -> Standing {
        let job: JobId = format!("{at:032x}").parse().unwrap();
        Standing { user: "a-b".parse().unwrap(), value, completed_at: from_unix_micros(at), job }
    }

    #[test]
    fn the_records_are_those_of_the_order_of_time_whatever_the_order_of_adding() {
        let story = [(1, 0.5), (2, 0.4), (3, 0.5), (4, 0.7), (5, 0.6), (6, 0.1), (7, 0.9)];
        for (order, wanted) in [(Order::Desc, vec![1, 4, 7]), (Order::Asc, vec![1, 2, 6])] {
            for turn in 0..story.len() {
                for stride in [1, 2, 3, 5] {
                    let mut records = Records::new(order);
                    for step in 0..story.len() {
                        let (at, value) = story[(turn + step * stride) % story.len()];
                        let is_taken = records.takes(&standing(at, value));
                        records.add(standing(at, value));
                        assert_eq!(is_taken, records.standings().any(|found| *found == standing(at, value)));
                    }
                    let found: Vec<i64> =
                        records.standings().map(|standing| standing.completed_at.timestamp_micros()).collect();
                    assert_eq!(found, wanted, "{order:?}, turned by {turn}, every {stride}");
                }
            }
        }
    }

    #[test]
    fn a_member_is_read_as_it_was_written() {
        let written = standing(1_800_000_000_000_000, -0.5);
        assert_eq!(read(&store(&written), -0.5), Some(written));
        assert_eq!(read("0192f1c3a4b57c6d8e9fa0b1c2d3e4f6", 1.0), None);
    }
}
