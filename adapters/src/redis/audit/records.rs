//! The records of each metric, compared with the fold of all jobs that ever completed, those that have expired too.

use std::collections::{BTreeMap, HashMap};

use events::ports::{HistoryEntry, PortError};
use events::ranking::ranked;
use events::stored::{Recorded, Unreadable};
use events::{JobEvent, JobId, Order, Standing, StreamId, UserId};
use projections::board::score;
use projections::fold::Part;
use projections::records::{Records, store};
use redis::Value;

use super::look::read_value;
use super::{Difference, Mode, Report};
use crate::redis::wire::{Words, words};
use crate::redis::{Redis, away, corrupt};

/// How many metrics the records of one part may be of, about. It bounds the memory.
const METRICS_A_PART: u64 = 50_000;
/// How many metrics are compared in one look.
const BATCH: usize = 16;
/// How many members one command adds.
const MEMBERS: usize = 1_000;
const ORDERS: [Order; 2] = [Order::Desc, Order::Asc];

impl Redis {
    /// Compares the records of each metric with the log; in [`Mode::Rebuild`] it restores what differs.
    pub(super) async fn audit_records(&self, mode: Mode, report: &mut Report) -> Result<(), PortError> {
        let metrics: u64 = redis::cmd("ZCARD")
            .arg(self.keys().boards())
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        let of = metrics.div_ceil(METRICS_A_PART).max(1);
        for number in 0..of {
            let part = Part { number, of };
            let (users, metrics) = (HashMap::new(), BTreeMap::new());
            let mut audit = RecordsAudit { redis: self, mode, part, users, metrics, at: None };
            audit.read_on().await?;
            audit.look_for_keys().await?;
            audit.compare(report).await?;
        }
        Ok(())
    }
}

/// The records of the metrics of one part, as the log tells of them.
struct RecordsAudit<'a> {
    redis: &'a Redis,
    mode: Mode,
    part: Part,
    /// Whose each job is that has not completed.
    users: HashMap<JobId, UserId>,
    /// In each of [`ORDERS`].
    metrics: BTreeMap<String, [Records; 2]>,
    /// Up to where the log is folded.
    at: Option<StreamId>,
}

impl RecordsAudit<'_> {
    /// Folds the log to its end.
    async fn read_on(&mut self) -> Result<(), PortError> {
        while let Some(entries) = self.redis.page_after(self.at).await? {
            self.fold_on(&entries)?;
        }
        Ok(())
    }

    fn fold_on(&mut self, entries: &[HistoryEntry]) -> Result<(), PortError> {
        for entry in entries {
            let unreadable = |error| corrupt(format!("entry {} of the event log: {error}", entry.id));
            self.add(entry).map_err(unreadable)?;
            self.at = Some(entry.id);
        }
        Ok(())
    }

    fn add(&mut self, entry: &HistoryEntry) -> Result<(), Unreadable> {
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

    /// Looks for metrics of which there are keys, whatever the log tells.
    async fn look_for_keys(&mut self) -> Result<(), PortError> {
        let mut cursor = 0_u64;
        loop {
            let (next, keys) = self.redis.scan(&self.redis.keys().boards_pattern(), cursor).await?;
            for (metric, _) in keys.iter().filter_map(|key| self.redis.keys().records_of(key)) {
                if self.part.holds_metric(&metric) {
                    self.metrics.entry(metric).or_insert_with(|| ORDERS.map(Records::new));
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Compares all of them, each at a moment to which the log is folded.
    async fn compare(&mut self, report: &mut Report) -> Result<(), PortError> {
        let metrics: Vec<String> = self.metrics.keys().cloned().collect();
        for batch in metrics.chunks(BATCH) {
            let mut left: Vec<(&String, Order)> =
                batch.iter().flat_map(|metric| ORDERS.map(|order| (metric, order))).collect();
            while !left.is_empty() {
                let read = |(metric, order): &(&String, Order)| {
                    words(["ZRANGE", &self.redis.keys().records(metric, *order), "0", "-1", "WITHSCORES"])
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
                    let Some((difference, writes)) = self.difference(metric, order, reply)? else { continue };
                    let newer = ("type", "job.completed");
                    if self.mode == Mode::Rebuild && !self.redis.restore_unless(self.at, newer, &writes).await? {
                        again.push((metric, order));
                        continue;
                    }
                    report.note(vec![difference]);
                }
                left = again;
            }
        }
        Ok(())
    }

    /// What differs, and the writes that restore it.
    fn difference(
        &self,
        metric: &str,
        order: Order,
        reply: Result<Value, String>,
    ) -> Result<Option<(Difference, Vec<Words>)>, PortError> {
        let records = &self.metrics[metric][usize::from(order == Order::Asc)];
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
            let newest = newest.map(|(member, value)| format!(", the newest {member} {}", score(*value)));
            format!("{} records{}", members.len(), newest.unwrap_or_default())
        };
        let key = self.redis.keys().records(metric, order);
        let mut writes = vec![words(["DEL", &key])];
        for members in wanted.chunks(MEMBERS) {
            let mut add = words(["ZADD", &key]);
            add.extend(members.iter().flat_map(|(member, value)| [score(*value), member.clone()]));
            writes.push(add);
        }
        let found = found.as_ref().map_or_else(String::clone, shown);
        Ok(Some((Difference { key, found, wanted: shown(&wanted) }, writes)))
    }
}
