//! The records of each metric, compared with the fold of all jobs that ever completed, those that have expired too.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::log::stored::Recorded;
use events::ports::{HistoryEntry, PortError};
use events::ranking::ranked;
use events::{AggregateId, JobEvent, JobId, Order, Standing, StreamId, UserId};
use projections::board::score;
use projections::fold::Part;
use projections::records::{Records, read, store};
use redis::Value;

use super::look::{as_text, read_value};
use super::report::{AuditReport, Difference, Mode};
use crate::redis::Redis;
use crate::redis::commit::wire::{Words, words};
use crate::redis::connection::trouble::away;

/// How many metrics the records of one part may be of, about. It bounds the memory.
const METRICS_A_PART: u64 = 50_000;
/// How many metrics are compared in one look.
const BATCH: usize = 16;
/// How many members one command adds.
const MEMBERS: usize = 1_000;
const ORDERS: [Order; 2] = [Order::Desc, Order::Asc];

impl Redis {
    /// Compares the records of each metric with the log; in [`Mode::Rebuild`] it restores what differs.
    pub(super) async fn audit_records(&self, mode: Mode, report: &mut AuditReport) -> Result<(), PortError> {
        let metrics = redis::cmd("ZCARD").arg(self.keys().boards()).query_async(&mut self.connection()).await;
        let metrics: u64 = match metrics {
            // That it is of another type was told before.
            Err(error) if error.code() == Some("WRONGTYPE") => 0,
            metrics => metrics.map_err(away)?,
        };
        let of = metrics.div_ceil(METRICS_A_PART).max(1);
        for number in 0..of {
            let part = Part { number, of };
            let (users, unreadable, metrics) = (HashMap::new(), HashSet::new(), BTreeMap::new());
            let mut audit =
                RecordsAudit { redis: self, mode, part, users, unreadable, has_strays: false, metrics, at: None };
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
    /// Jobs whose values are unknown, because one of their events can't be read.
    unreadable: HashSet<JobId>,
    /// Whether there is an event of which not even that is known.
    has_strays: bool,
    /// In each of [`ORDERS`].
    metrics: BTreeMap<String, [Records; 2]>,
    /// Up to where the log is folded.
    at: Option<StreamId>,
}

impl RecordsAudit<'_> {
    /// Folds the log to its end.
    async fn read_on(&mut self) -> Result<(), PortError> {
        while let Some(entries) = self.redis.page_after(self.at).await? {
            self.fold_on(&entries);
        }
        Ok(())
    }

    fn fold_on(&mut self, entries: &[HistoryEntry]) {
        for entry in entries {
            self.add(entry);
            self.at = Some(entry.id);
        }
    }

    fn add(&mut self, entry: &HistoryEntry) {
        let (job, envelope) = match entry.event.read() {
            Ok(Recorded::Job(job, envelope)) => (job, envelope),
            Ok(Recorded::Submission(..) | Recorded::Policy(_) | Recorded::Log(_)) => return,
            Err(_) => {
                match entry.event.aggregate.parse() {
                    Ok(AggregateId::Job(job)) => _ = self.unreadable.insert(job),
                    Ok(AggregateId::Submission(_) | AggregateId::Policy | AggregateId::Log) => {}
                    Err(_) => self.has_strays = true,
                }
                return;
            }
        };
        if let JobEvent::Enqueued { spec, .. } = envelope.event {
            self.users.insert(job, spec.user);
            return;
        }
        if !matches!(envelope.event, JobEvent::Completed { .. } | JobEvent::Expired {}) {
            return;
        }
        let (Some(user), JobEvent::Completed { results, .. }) = (self.users.remove(&job), envelope.event) else {
            return;
        };
        for (metric, value) in ranked(&results.metrics) {
            if self.part.holds_metric(&metric) {
                let standing = Standing { user: user.clone(), value, completed_at: envelope.at, job };
                for records in self.metrics.entry(metric).or_insert_with(|| ORDERS.map(Records::new)) {
                    records.add(standing.clone());
                }
            }
        }
    }

    /// Whether a member tells of a job of which it is not known what it reached.
    fn is_unknown(&self, member: &str, value: f64) -> bool {
        self.has_strays || read(member, value).is_some_and(|standing| self.unreadable.contains(&standing.job))
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
    async fn compare(&mut self, report: &mut AuditReport) -> Result<(), PortError> {
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
                self.fold_on(&look.newer);
                if !look.complete {
                    self.read_on().await?;
                    continue;
                }
                let mut again = Vec::new();
                for ((metric, order), mut reply) in left.into_iter().zip(look.replies) {
                    // A key of another type was told before, and goes away as a whole.
                    if reply.is_err() && report.is_damaged(&self.redis.keys().records(metric, order)) {
                        reply = Ok(Value::Array(vec![]));
                    }
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
            Ok(value) => {
                let found: Vec<(Vec<u8>, f64)> = read_value(&value)?;
                Ok(found.into_iter().map(|(member, value)| (as_text(member), value)).collect::<Vec<_>>())
            }
            Err(error) => Err(error),
        };
        // It may be the record that it is said to be, and others may only be none because of it.
        if found.as_ref().is_ok_and(|found| found.iter().any(|(member, value)| self.is_unknown(member, *value))) {
            return Ok(None);
        }
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
