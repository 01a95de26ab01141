//! The records of each metric, compared with the fold of all jobs that ever completed, those that have expired too.

use std::collections::{BTreeMap, HashMap};

use events::ports::{HistoryEntry, PortError};
use events::ranking::ranked;
use events::stored::{Recorded, Unreadable};
use events::{JobEvent, JobId, Order, Standing, UserId};
use projections::Keyspace;
use projections::board::score;
use projections::fold::Part;
use projections::records::{Records, store};
use redis::Value;

use super::look::read_value;
use super::{Audit, Difference, Mode};
use crate::redis::wire::{Words, words};

/// How many metrics are compared in one look.
const BATCH: usize = 16;
/// How many members one command adds.
const MEMBERS: usize = 1_000;
const ORDERS: [Order; 2] = [Order::Desc, Order::Asc];

/// The records of the metrics of one part, as the log tells of them.
#[derive(Debug)]
pub(super) struct FoldedRecords {
    part: Part,
    /// Whose each job is that has not completed.
    users: HashMap<JobId, UserId>,
    /// In each of [`ORDERS`].
    metrics: BTreeMap<String, [Records; 2]>,
}

impl FoldedRecords {
    pub(super) fn new(part: Part) -> Self {
        Self { part, users: HashMap::new(), metrics: BTreeMap::new() }
    }

    /// Folds one entry of the log.
    pub(super) fn add(&mut self, entry: &HistoryEntry) -> Result<(), Unreadable> {
        if !["job.enqueued", "job.completed", "job.expired"].contains(&entry.event.kind.as_str()) {
            return Ok(());
        }
        let Recorded::Job(job, envelope) = entry.event.read()? else { return Ok(()) };
        if let JobEvent::Enqueued { spec, .. } = envelope.event {
            self.users.insert(job, spec.user);
            return Ok(());
        }
        let (Some(user), JobEvent::Completed { results, .. }) = (self.users.remove(&job), envelope.event) else {
            return Ok(());
        };
        for (metric, value) in ranked(&results.metrics) {
            if self.part.holds_metric(&metric) {
                let standing = Standing { user: user.clone(), value, completed_at: envelope.at, job };
                for records in self.metrics.entry(metric).or_insert_with(|| ORDERS.map(Records::new)) {
                    records.add(standing.clone());
                }
            }
        }
        Ok(())
    }

    /// A metric of which there are keys, whatever the log tells.
    pub(super) fn found(&mut self, metric: String) {
        if self.part.holds_metric(&metric) {
            self.metrics.entry(metric).or_insert_with(|| ORDERS.map(Records::new));
        }
    }
}

impl Audit<'_> {
    /// Compares the records of all metrics of this part, each at a moment to which the log is folded.
    pub(super) async fn compare_records(&mut self) -> Result<(), PortError> {
        let keys = self.redis.keys().clone();
        let metrics: Vec<String> = self.records.metrics.keys().cloned().collect();
        for batch in metrics.chunks(BATCH) {
            let mut left: Vec<(&String, Order)> =
                batch.iter().flat_map(|metric| ORDERS.map(|order| (metric, order))).collect();
            while !left.is_empty() {
                let read = |(metric, order): &(&String, Order)| {
                    words(["ZRANGE", &keys.records(metric, *order), "0", "-1", "WITHSCORES"])
                };
                let reads: Vec<Words> = left.iter().map(read).collect();
                let look = self.redis.look(self.at, &reads).await?;
                self.fold_on(&look.newer)?;
                if !look.complete {
                    self.read_on().await?;
                    continue;
                }
                let mut again = Vec::new();
                for ((metric, order), reply) in left.into_iter().zip(look.replies) {
                    let records = &self.records.metrics[metric][usize::from(order == Order::Asc)];
                    let Some((difference, writes)) = compare(&keys, metric, order, records, reply)? else { continue };
                    let newer = ("type", "job.completed");
                    if self.mode == Mode::Rebuild && !self.redis.restore_unless(self.at, newer, &writes).await? {
                        again.push((metric, order));
                        continue;
                    }
                    self.note(vec![difference]);
                }
                left = again;
            }
        }
        Ok(())
    }
}

/// What differs, and the writes that restore it.
fn compare(
    keys: &Keyspace,
    metric: &str,
    order: Order,
    records: &Records,
    reply: Result<Value, String>,
) -> Result<Option<(Difference, Vec<Words>)>, PortError> {
    // From the least value on.
    let mut wanted: Vec<(String, f64)> =
        records.standings().map(|standing| (store(standing), standing.value)).collect();
    if order == Order::Asc {
        wanted.reverse();
    }
    let found = match reply {
        Ok(value) => Ok(read_value::<Vec<(String, f64)>>(&value)?),
        Err(error) => Err(error),
    };
    if found.as_ref() == Ok(&wanted) {
        return Ok(None);
    }
    let shown = |members: &Vec<(String, f64)>| {
        let newest = if order == Order::Asc { members.first() } else { members.last() };
        let newest =
            newest.map_or_else(String::new, |(member, value)| format!(", the newest {member} {}", score(*value)));
        format!("{} records{newest}", members.len())
    };
    let key = keys.records(metric, order);
    let mut writes = vec![words(["DEL", &key])];
    for members in wanted.chunks(MEMBERS) {
        let mut add = words(["ZADD", &key]);
        add.extend(members.iter().flat_map(|(member, value)| [score(*value), member.clone()]));
        writes.push(add);
    }
    let found = found.as_ref().map_or_else(String::clone, shown);
    Ok(Some((Difference { key, found, wanted: shown(&wanted) }, writes)))
}
