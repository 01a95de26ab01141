//! Compares every read model with the fold of the log, and restores what differs, beside a live system.
//!
//! The log is folded once. Then the live keys are read batch by batch. Each batch is read at one moment, together with
//! the new entries of the log, which are folded on top. An aggregate that changed in between is read again. So the
//! system goes on, and every difference is real. A script restores a difference only if the aggregate has had no event
//! since.

mod boards;
mod look;
mod records;
mod report;
mod strangers;
mod totals;
mod wanted;

use std::collections::{BTreeMap, HashMap, HashSet};

use events::ports::{EventLogPort, HistoryEntry, PortError};
use events::{AggregateId, StreamId};
use projections::fields::EVENT_IDS;
use projections::fold::{Fold, Part};
use redis::Value;

use super::Redis;
use crate::redis::commit::wire::Words;
use crate::redis::connection::trouble::away;
pub use report::{AuditReport, Difference, Mode, Progress, Unreadable};

use look::read_value;
use wanted::Wanted;

/// How many events one part of the log may have, about. It bounds the memory: some 100 MB a part.
const EVENTS_A_PART: u64 = 200_000;
/// How many entries of the log are read at a time.
const LOG_PAGE: usize = 1_000;
/// How many aggregates are compared in one look.
const BATCH: usize = 64;

impl Redis {
    /// Returns some of the keys that match a pattern, and the next cursor; 0 is the beginning and the end.
    async fn scan(&self, pattern: &str, cursor: u64) -> Result<(u64, Vec<String>), PortError> {
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg(&["MATCH", pattern, "COUNT", "1000"])
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        // A key that is no text is none of ours.
        Ok((next, keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect()))
    }

    /// Returns the next entries of the log, if there are any.
    async fn page_after(&self, at: Option<StreamId>) -> Result<Option<Vec<HistoryEntry>>, PortError> {
        let entries = self.read(at, LOG_PAGE).await?;
        Ok((!entries.is_empty()).then_some(entries))
    }

    /// Compares every read model with the fold of the log; in [`Mode::Rebuild`] it restores what differs.
    ///
    /// # Errors
    /// If Redis does not answer. An entry of the log that can't be read is passed over with all that it is about.
    pub async fn audit(&self, mode: Mode, mut progress: impl FnMut(Progress)) -> Result<AuditReport, PortError> {
        let len: u64 =
            redis::cmd("XLEN").arg(self.keys().events()).query_async(&mut self.connection()).await.map_err(away)?;
        let of = len.div_ceil(EVENTS_A_PART).max(1);
        let mut report = AuditReport::default();
        for number in 0..of {
            let part = Part { number, of };
            let mut audit = Audit {
                redis: self,
                mode,
                fold: Fold::new(part),
                at: None,
                strays: BTreeMap::new(),
                report: &mut report,
            };
            audit.run(&mut progress).await?;
        }
        self.audit_totals(mode, &mut report).await?;
        self.audit_boards(mode, &mut report).await?;
        self.audit_records(mode, &mut report).await?;
        Ok(report)
    }
}

struct Audit<'a> {
    redis: &'a Redis,
    mode: Mode,
    fold: Fold,
    /// Up to where the log is folded.
    at: Option<StreamId>,
    /// Entries whose aggregate is not known, and why.
    strays: BTreeMap<StreamId, String>,
    report: &'a mut AuditReport,
}

impl Audit<'_> {
    async fn run(&mut self, progress: &mut impl FnMut(Progress)) -> Result<(), PortError> {
        self.read_on().await?;
        self.look_for_strangers().await?;
        let mut ids: Vec<AggregateId> = self.fold.ids().collect();
        ids.sort_unstable();
        let of = ids.len() as u64;
        for (number, batch) in (0..).zip(ids.chunks(BATCH)) {
            progress(Progress { compared: number * BATCH as u64, of, part: self.fold.part() });
            self.compare(batch.to_vec()).await?;
            self.report.aggregates += batch.len() as u64;
        }
        progress(Progress { compared: of, of, part: self.fold.part() });
        self.tell_unreadable();
        Ok(())
    }

    fn tell_unreadable(&mut self) {
        let mut unreadable: Vec<(AggregateId, &str)> = self.fold.unreadable().collect();
        unreadable.sort_unstable();
        for (id, why) in unreadable {
            self.report.note_unreadable(id.to_string(), why.to_owned());
        }
        // All parts read all entries.
        if self.fold.part().number == 0 {
            for (place, why) in &self.strays {
                self.report.note_unreadable(format!("entry {place}"), why.clone());
            }
        }
    }

    /// Folds the log to its end.
    async fn read_on(&mut self) -> Result<(), PortError> {
        while let Some(entries) = self.redis.page_after(self.at).await? {
            self.fold_on(&entries);
        }
        Ok(())
    }

    /// Folds the entries that follow, and returns their aggregates.
    fn fold_on(&mut self, entries: &[HistoryEntry]) -> HashSet<AggregateId> {
        let mut touched = HashSet::new();
        for entry in entries {
            match self.fold.add(entry.id, &entry.event) {
                Ok(Some(id)) => {
                    self.report.events += 1;
                    touched.insert(id);
                }
                Ok(None) => {}
                Err(_) => {
                    let why = entry.event.read().err().map_or_else(String::new, |error| error.to_string());
                    self.strays.insert(entry.id, why);
                }
            }
            self.at = Some(entry.id);
        }
        touched
    }

    /// Returns whether one of the entries that an aggregate's hash names no longer tells its aggregate.
    fn has_stray(&self, hash: Option<&Result<Value, String>>) -> bool {
        let Some(Ok(hash)) = hash else { return false };
        let fields: HashMap<Vec<u8>, Vec<u8>> = read_value(hash).unwrap_or_default();
        let ids = fields.get(EVENT_IDS.as_bytes()).map(Vec::as_slice).unwrap_or_default();
        let places = std::str::from_utf8(ids).unwrap_or_default().split_ascii_whitespace();
        !self.strays.is_empty() && places.filter_map(|id| id.parse().ok()).any(|id| self.strays.contains_key(&id))
    }

    /// Compares aggregates until each was seen at a moment to which the log is folded.
    async fn compare(&mut self, mut left: Vec<AggregateId>) -> Result<(), PortError> {
        let keys = self.redis.keys().clone();
        loop {
            left.retain(|id| !self.fold.is_unreadable(*id));
            if left.is_empty() {
                return Ok(());
            }
            let wanted: Vec<Wanted> = left.iter().map(|id| Wanted::new(&keys, *id, self.fold.get(*id))).collect();
            let reads: Vec<Vec<Words>> = wanted.iter().map(|wanted| wanted.reads(&keys)).collect();
            let look = self.redis.look(self.at, &reads.concat()).await?;
            let touched = self.fold_on(&look.newer);
            if !look.complete {
                self.read_on().await?;
                continue;
            }
            let mut replies = look.replies.into_iter();
            let mut again = Vec::new();
            for (wanted, reads) in wanted.iter().zip(reads) {
                let replies: Vec<_> = replies.by_ref().take(reads.len()).collect();
                if touched.contains(&wanted.id) {
                    again.push(wanted.id);
                    continue;
                }
                if self.has_stray(replies.first()) {
                    continue;
                }
                let compared = wanted.compare(&keys, look.now_ms, replies)?;
                if compared.differences.is_empty() {
                    continue;
                }
                if self.mode == Mode::Rebuild && !self.redis.restore(self.at, wanted.id, &compared.writes).await? {
                    again.push(wanted.id);
                    continue;
                }
                self.note(compared.differences);
            }
            left = again;
        }
    }

    fn note(&mut self, differences: Vec<Difference>) {
        self.report.note(differences);
    }
}
