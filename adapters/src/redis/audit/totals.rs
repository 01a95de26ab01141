//! The sizes of what users have stored: sums over their submissions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::log::stored::Recorded;
use events::ports::{HistoryEntry, PortError};
use events::{AggregateId, StreamId, SubmissionEvent, SubmissionId};
use projections::fold::Part;
use projections::keys::ReadModel;
use redis::Script;

use super::look::read_value;
use super::report::{AuditReport, Difference, Mode};
use crate::redis::Redis;
use crate::redis::commit::wire::{Words, words};
use crate::redis::connection::trouble::away;

/// How many submissions one part may have, about. It bounds the memory.
const SUBMISSIONS_A_PART: u64 = 500_000;
/// How many totals are compared in one look.
const BATCH: usize = 64;

impl Redis {
    /// Compares each user's total with the log. [`Mode::Rebuild`] restores it from the submissions' records, which are
    /// as the log tells by then.
    pub(super) async fn audit_totals(&self, mode: Mode, report: &mut AuditReport) -> Result<(), PortError> {
        if mode == Mode::Rebuild {
            return self.audit_sums(mode, report).await;
        }
        let submissions = redis::cmd("ZCARD").arg(self.keys().submissions()).query_async(&mut self.connection()).await;
        let submissions: u64 = match submissions {
            // That it is of another type was told before.
            Err(error) if error.code() == Some("WRONGTYPE") => 0,
            submissions => submissions.map_err(away)?,
        };
        let of = submissions.div_ceil(SUBMISSIONS_A_PART).max(1);
        for number in 0..of {
            let mut totals = Totals::new(self, Part { number, of });
            totals.read_on().await?;
            totals.look_for_keys().await?;
            totals.compare(report).await?;
            if !totals.is_readable {
                // Only the records tell what unreadable submissions had.
                return self.audit_sums(mode, report).await;
            }
        }
        Ok(())
    }

    /// Compares each user's total with the sum over their submissions' records, at one moment.
    async fn audit_sums(&self, mode: Mode, report: &mut AuditReport) -> Result<(), PortError> {
        let mut cursor = 0_u64;
        loop {
            let (next, found) = self.scan(&self.keys().users_pattern(), cursor).await?;
            for key in found {
                let Some((total, index)) = self.keys().stored_of(&key) else { continue };
                // A user who has a total, or one who should have one.
                if key == total || !self.exists(&total).await? {
                    self.audit_sum(mode, total, &index, report).await?;
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    async fn exists(&self, key: &str) -> Result<bool, PortError> {
        redis::cmd("EXISTS").arg(key).query_async(&mut self.connection()).await.map_err(away)
    }

    async fn audit_sum(
        &self,
        mode: Mode,
        total: String,
        index: &str,
        report: &mut AuditReport,
    ) -> Result<(), PortError> {
        debug_assert_eq!(self.keys().read_model(&total), Some(ReadModel::Stored));
        let (found, wanted): (String, String) = Script::new(include_str!("total.lua"))
            .key(&total)
            .key(index)
            .arg(self.keys().submission_prefix())
            .arg(match mode {
                Mode::Verify => "verify",
                Mode::Rebuild => "rebuild",
            })
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        if found != wanted {
            report.note(vec![Difference { key: total, found, wanted }]);
        }
        Ok(())
    }
}

/// The totals of the users of one part, as the log tells of them.
struct Totals<'a> {
    redis: &'a Redis,
    part: Part,
    /// The total that each submission counts in, and its size.
    submissions: HashMap<SubmissionId, (String, u64)>,
    /// The sums, by key; 0 where only the key is there.
    sums: BTreeMap<String, u64>,
    /// Whether all that tells of submissions can be read.
    is_readable: bool,
    /// Up to where the log is folded.
    at: Option<StreamId>,
}

impl<'a> Totals<'a> {
    fn new(redis: &'a Redis, part: Part) -> Self {
        Self { redis, part, submissions: HashMap::new(), sums: BTreeMap::new(), is_readable: true, at: None }
    }

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
        let (id, event) = match entry.event.read() {
            Ok(Recorded::Submission(id, envelope)) => (id, envelope.event),
            Ok(Recorded::Job(..) | Recorded::Policy(_) | Recorded::Log(_)) => return,
            Err(_) => {
                let of = entry.event.aggregate.parse();
                self.is_readable &= matches!(of, Ok(AggregateId::Job(_) | AggregateId::Policy | AggregateId::Log));
                return;
            }
        };
        if let Some((total, bytes)) = self.submissions.remove(&id) {
            *self.sums.entry(total).or_default() -= bytes;
        }
        if let SubmissionEvent::Created(manifest) = event {
            let total = self.redis.keys().user_stored(&manifest.user);
            if self.part.holds_total(&total) {
                *self.sums.entry(total.clone()).or_default() += manifest.bytes;
                self.submissions.insert(id, (total, manifest.bytes));
            }
        }
    }

    /// Looks for totals that are there, whatever the log tells.
    async fn look_for_keys(&mut self) -> Result<(), PortError> {
        let mut cursor = 0_u64;
        loop {
            let (next, keys) = self.redis.scan(&self.redis.keys().users_pattern(), cursor).await?;
            let totals: BTreeSet<String> =
                keys.into_iter().filter(|key| self.redis.keys().read_model(key) == Some(ReadModel::Stored)).collect();
            for total in totals.into_iter().filter(|total| self.part.holds_total(total)) {
                self.sums.entry(total).or_default();
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Compares all of them, each at a moment to which the log is folded.
    async fn compare(&mut self, report: &mut AuditReport) -> Result<(), PortError> {
        let totals: Vec<String> = self.sums.keys().cloned().collect();
        for batch in totals.chunks(BATCH) {
            let reads: Vec<Words> = batch.iter().map(|total| words(["HGET", total, "bytes"])).collect();
            let look = loop {
                let look = self.redis.look(self.at, &reads).await?;
                self.fold_on(&look.newer);
                if look.complete {
                    break look;
                }
                self.read_on().await?;
            };
            if !self.is_readable {
                return Ok(());
            }
            for (total, reply) in batch.iter().zip(look.replies) {
                let found = match reply {
                    Ok(value) => read_value::<Option<String>>(&value)?.unwrap_or_else(|| "0".to_owned()),
                    // A key of another type was told before, and goes away as a whole.
                    Err(_) if report.is_damaged(total) => "0".to_owned(),
                    Err(error) => error,
                };
                let wanted = self.sums.get(total).copied().unwrap_or_default().to_string();
                if found != wanted {
                    report.note(vec![Difference { key: total.clone(), found, wanted }]);
                }
            }
        }
        Ok(())
    }
}
