//! Compares every read model with the fold of the log, and restores what differs, right beside a live system.
//!
//! The log is folded once; then the live keys are read batch by batch, each batch at one moment with what the log has
//! had since, which is folded on top. An aggregate that moved in between is looked at again. So nothing has to stand
//! still, and what differs really differs. What differs is restored in a script that writes only if the aggregate has
//! had no event since.

mod boards;
mod look;
mod records;
mod totals;
mod wanted;

use std::collections::HashSet;

use events::ports::{EventLogPort, HistoryEntry, PortError};
use events::{AggregateId, StreamId};
use projections::Keyspace;
use projections::fold::{Fold, Part};
use projections::keys::ReadModel;
use projections::patch::SetKind;

use super::wire::{Words, words};
use super::{Redis, away, corrupt};
use look::read_value;
use wanted::{Wanted, in_window};

/// How many events one part of the log may have, about. It bounds the memory: some 100 MB a part.
const EVENTS_A_PART: u64 = 200_000;
/// How many entries of the log are read at a time.
const LOG_PAGE: usize = 1_000;
/// How many aggregates are compared in one look.
const BATCH: usize = 64;
/// How many differences are kept to be shown.
const SHOWN: usize = 20;

/// Whether what differs is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is only told. Nothing is written.
    Verify,
    /// It is restored from the log.
    Rebuild,
}

/// A read model that is not what the log folds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// What it holds.
    pub found: String,
    /// What the log folds to.
    pub wanted: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Events folded.
    pub events: u64,
    /// Aggregates compared.
    pub aggregates: u64,
    /// How many differences there are, or were before they were restored.
    pub differences: u64,
    /// The first of them.
    pub first: Vec<Difference>,
}

/// How far an audit has come: aggregates compared, of those known so far, in which part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Aggregates compared in this part.
    pub compared: u64,
    /// Aggregates of this part.
    pub of: u64,
    /// Which part.
    pub part: Part,
}

impl Redis {
    /// Some of the keys that match a pattern, and where to go on; 0 is the beginning and the end.
    async fn scan(&self, pattern: &str, cursor: u64) -> Result<(u64, Vec<String>), PortError> {
        redis::cmd("SCAN")
            .arg(cursor)
            .arg(&["MATCH", pattern, "COUNT", "1000"])
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))
    }

    /// The next entries of the log, if there are any.
    async fn page_after(&self, at: Option<StreamId>) -> Result<Option<Vec<HistoryEntry>>, PortError> {
        let entries = self.read(at, LOG_PAGE).await?;
        Ok((!entries.is_empty()).then_some(entries))
    }

    /// Compares every read model with the fold of the log; in [`Mode::Rebuild`] it restores what differs.
    ///
    /// # Errors
    /// If Redis does not answer, or an entry of the log can't be read.
    pub async fn audit(&self, mode: Mode, mut progress: impl FnMut(Progress)) -> Result<Report, PortError> {
        let len: u64 = redis::cmd("XLEN")
            .arg(self.keys().events())
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        let of = len.div_ceil(EVENTS_A_PART).max(1);
        let mut report = Report::default();
        for number in 0..of {
            let part = Part { number, of };
            let mut audit = Audit { redis: self, mode, fold: Fold::new(part), at: None, report: &mut report };
            audit.run(&mut progress).await?;
        }
        self.audit_totals(mode, &mut report).await?;
        self.audit_boards(mode, &mut report).await?;
        self.audit_records(mode, &mut report).await?;
        Ok(report)
    }
}

impl Report {
    fn note(&mut self, differences: Vec<Difference>) {
        self.differences += differences.len() as u64;
        let room = SHOWN.saturating_sub(self.first.len());
        self.first.extend(differences.into_iter().take(room));
    }
}

struct Audit<'a> {
    redis: &'a Redis,
    mode: Mode,
    fold: Fold,
    /// Up to where the log is folded.
    at: Option<StreamId>,
    report: &'a mut Report,
}

/// Something that is there and, as far as the log is folded, should not be.
struct Suspect {
    id: AggregateId,
    key: String,
    /// The read that tells whether it is still there.
    read: Words,
    /// The write that removes it.
    remove: Words,
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
        Ok(())
    }

    /// Folds the log to its end.
    async fn read_on(&mut self) -> Result<(), PortError> {
        while let Some(entries) = self.redis.page_after(self.at).await? {
            self.fold_on(&entries)?;
        }
        Ok(())
    }

    /// Folds entries that follow, and gives whose they are.
    fn fold_on(&mut self, entries: &[HistoryEntry]) -> Result<HashSet<AggregateId>, PortError> {
        let mut touched = HashSet::new();
        for entry in entries {
            let unreadable = |error| corrupt(format!("entry {} of the event log: {error}", entry.id));
            if let Some(id) = self.fold.add(entry.id, &entry.event).map_err(unreadable)? {
                self.report.events += 1;
                touched.insert(id);
            }
            self.at = Some(entry.id);
        }
        Ok(touched)
    }

    /// Compares aggregates until each was seen at a moment to which the log is folded.
    async fn compare(&mut self, mut left: Vec<AggregateId>) -> Result<(), PortError> {
        let keys = self.redis.keys().clone();
        while !left.is_empty() {
            let wanted: Vec<Wanted> = left.iter().map(|id| Wanted::new(&keys, *id, self.fold.get(*id))).collect();
            let reads: Vec<Vec<Words>> = wanted.iter().map(|wanted| wanted.reads(&keys)).collect();
            let look = self.redis.look(self.at, &reads.concat()).await?;
            let touched = self.fold_on(&look.newer)?;
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
        Ok(())
    }

    /// Looks through the keys for what no aggregate accounts for.
    async fn look_for_strangers(&mut self) -> Result<(), PortError> {
        let mut cursor = 0_u64;
        loop {
            let (next, keys) = self.redis.scan(&self.redis.keys().pattern(), cursor).await?;
            let mut suspects = Vec::new();
            for key in keys {
                match self.redis.keys().read_model(&key) {
                    Some(ReadModel::Index(kind)) => self.look_through_index(&key, kind).await?,
                    Some(ReadModel::Window | ReadModel::Standings) => {
                        self.look_through_index(&key, SetKind::Sorted).await?;
                    }
                    Some(ReadModel::Hash(id)) => suspects.push(Suspect::key(id, &key)),
                    Some(ReadModel::Results(id)) => suspects.push(Suspect::key(AggregateId::Job(id), &key)),
                    Some(ReadModel::Stored | ReadModel::Best | ReadModel::Records | ReadModel::Boards) | None => {}
                }
            }
            self.judge(suspects).await?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    async fn look_through_index(&mut self, key: &str, kind: SetKind) -> Result<(), PortError> {
        let mut connection = self.redis.connection();
        let mut cursor = 0_u64;
        loop {
            let command = match kind {
                SetKind::Plain => "SSCAN",
                SetKind::Sorted => "ZSCAN",
            };
            let page: redis::RedisResult<(u64, Vec<String>)> =
                redis::cmd(command).arg(key).arg(cursor).arg(&["COUNT", "1000"]).query_async(&mut connection).await;
            let (next, entries) = match page {
                // An index of another type can hold no member: each is told where it is missing.
                Err(error) if error.code() == Some("WRONGTYPE") => return Ok(()),
                page => page.map_err(|error| away(&error))?,
            };
            // A sorted set answers with each member's score behind it.
            let step = if kind == SetKind::Sorted { 2 } else { 1 };
            let suspects = entries.into_iter().step_by(step).filter_map(|member| {
                let id = self.redis.keys().member(key, &member)?;
                Some(Suspect::member(id, key, kind, &member))
            });
            let suspects = suspects.collect();
            self.judge(suspects).await?;
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Whether the log, as far as it is folded, accounts for it.
    fn accounts_for(&self, suspect: &Suspect) -> bool {
        let keys = self.redis.keys();
        self.fold.get(suspect.id).is_some_and(|folded| match keys.read_model(&suspect.key) {
            Some(ReadModel::Results(_)) => folded.results.is_some(),
            Some(ReadModel::Index(_)) => folded.view(keys).memberships.contains_key(&suspect.key),
            Some(ReadModel::Window) => folded.view(keys).windows.contains_key(&suspect.key),
            Some(ReadModel::Standings) => {
                suspect.remove.last().is_some_and(|member| folded.stands(keys, &suspect.key, member))
            }
            Some(ReadModel::Hash(_) | ReadModel::Stored | ReadModel::Best | ReadModel::Records | ReadModel::Boards)
            | None => true,
        })
    }

    async fn judge(&mut self, mut suspects: Vec<Suspect>) -> Result<(), PortError> {
        let part = self.fold.part();
        suspects.retain(|suspect| part.holds(suspect.id) && !self.accounts_for(suspect));
        while !suspects.is_empty() {
            let reads: Vec<Words> = suspects.iter().map(|suspect| suspect.read.clone()).collect();
            let look = self.redis.look(self.at, &reads).await?;
            self.fold_on(&look.newer)?;
            if !look.complete {
                self.read_on().await?;
                continue;
            }
            let mut again = Vec::new();
            for (suspect, reply) in suspects.into_iter().zip(look.replies) {
                let there = match &reply {
                    Ok(value) => {
                        let found = read_value::<Option<String>>(value)?;
                        found.is_some_and(|found| suspect.is_there(&found, look.now_ms, self.redis.keys()))
                    }
                    Err(_) => false,
                };
                if !there || self.accounts_for(&suspect) {
                    continue;
                }
                let remove = std::slice::from_ref(&suspect.remove);
                if self.mode == Mode::Rebuild && !self.redis.restore(self.at, suspect.id, remove).await? {
                    again.push(suspect);
                    continue;
                }
                let found = suspect.remove.last().filter(|last| **last != suspect.key);
                let found = found.map_or_else(|| "present".to_owned(), |member| format!("{member} present"));
                self.note(vec![Difference { key: suspect.key, found, wanted: "absent".to_owned() }]);
            }
            suspects = again;
        }
        Ok(())
    }

    fn note(&mut self, differences: Vec<Difference>) {
        self.report.note(differences);
    }
}

impl Suspect {
    fn key(id: AggregateId, key: &str) -> Self {
        Self { id, key: key.to_owned(), read: words(["EXISTS", key]), remove: words(["DEL", key]) }
    }

    fn member(id: AggregateId, key: &str, kind: SetKind, member: &str) -> Self {
        let [read, remove] = match kind {
            SetKind::Plain => ["SISMEMBER", "SREM"],
            SetKind::Sorted => ["ZSCORE", "ZREM"],
        };
        Self { id, key: key.to_owned(), read: words([read, key, member]), remove: words([remove, key, member]) }
    }

    /// Whether what its read found is something that should not be there: what left the hour may stay in a window.
    fn is_there(&self, found: &str, now_ms: i64, keys: &Keyspace) -> bool {
        match keys.read_model(&self.key) {
            Some(ReadModel::Window) => found.parse().is_ok_and(|at_ms| in_window(at_ms, now_ms)),
            Some(ReadModel::Index(SetKind::Sorted) | ReadModel::Standings) => true,
            Some(
                ReadModel::Hash(_)
                | ReadModel::Results(_)
                | ReadModel::Index(SetKind::Plain)
                | ReadModel::Stored
                | ReadModel::Best
                | ReadModel::Records
                | ReadModel::Boards,
            )
            | None => found != "0",
        }
    }
}
