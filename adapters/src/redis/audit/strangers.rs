//! What is there and no aggregate accounts for: keys, members of indexes, and members that no projection ever writes.

use events::AggregateId;
use events::ports::PortError;
use projections::Keyspace;
use projections::keys::ReadModel;
use projections::patch::SetKind;

use super::Audit;
use super::look::{as_text, read_value};
use super::report::{AuditReport, Difference, Mode};
use super::wanted::in_window;
use crate::redis::Redis;
use crate::redis::commit::wire::{Words, words};
use crate::redis::connection::trouble::away;

/// Something that is there and, as far as the log is folded, should not be.
struct Suspect {
    id: AggregateId,
    key: String,
    /// The read that tells whether it is still there.
    read: Words,
    /// The write that removes it.
    remove: Words,
}

impl Redis {
    /// Tells of a member that no projection ever writes; in [`Mode::Rebuild`] removes it.
    pub(super) async fn audit_garbage(
        &self,
        mode: Mode,
        key: &str,
        kind: SetKind,
        member: Vec<u8>,
        report: &mut AuditReport,
    ) -> Result<(), PortError> {
        if mode == Mode::Rebuild {
            let remove = match kind {
                SetKind::Plain => "SREM",
                SetKind::Sorted => "ZREM",
            };
            redis::cmd(remove).arg(key).arg(&member).query_async::<()>(&mut self.connection()).await.map_err(away)?;
        }
        let (key, found) = (key.to_owned(), format!("{} present", as_text(member)));
        report.note(vec![Difference { key, found, wanted: "absent".to_owned() }]);
        Ok(())
    }
}

impl Audit<'_> {
    /// Looks through the keys for what no aggregate accounts for.
    pub(super) async fn look_for_strangers(&mut self) -> Result<(), PortError> {
        let mut cursor = 0_u64;
        loop {
            let (next, keys) = self.redis.scan(&self.redis.keys().pattern(), cursor).await?;
            self.look_at_types(&keys).await?;
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

    /// Looks for indexes that are none. In [`Mode::Rebuild`] each is moved into the quarantine; members of it that the
    /// log tells of are found missing afterwards.
    async fn look_at_types(&mut self, keys: &[String]) -> Result<(), PortError> {
        let typed: Vec<(&String, &'static str)> =
            keys.iter().filter_map(|key| Some((key, type_of(self.redis.keys().read_model(key)?)?))).collect();
        if typed.is_empty() {
            return Ok(());
        }
        let mut read = redis::pipe();
        for (key, _) in &typed {
            read.cmd("TYPE").arg(key);
        }
        let kinds: Vec<String> = read.query_async(&mut self.redis.connection()).await.map_err(away)?;
        for ((key, wanted), found) in typed.into_iter().zip(kinds) {
            if found == wanted || found == "none" {
                continue;
            }
            // It is found once, whatever the number of parts.
            let is_news = match self.mode {
                Mode::Verify => self.fold.part().number == 0,
                Mode::Rebuild => self.redis.set_aside(key, wanted, None).await? > 0,
            };
            if is_news {
                let (key, wanted) = (key.clone(), format!("a {wanted}"));
                self.note(vec![Difference { key, found: format!("a {found}"), wanted }]);
            }
        }
        Ok(())
    }

    async fn look_through_index(&mut self, key: &str, kind: SetKind) -> Result<(), PortError> {
        let mut connection = self.redis.connection();
        let mut cursor = 0_u64;
        loop {
            let command = match kind {
                SetKind::Plain => "SSCAN",
                SetKind::Sorted => "ZSCAN",
            };
            let page: redis::RedisResult<(u64, Vec<Vec<u8>>)> =
                redis::cmd(command).arg(key).arg(cursor).arg(&["COUNT", "1000"]).query_async(&mut connection).await;
            let (next, entries) = match page {
                // An index of another type can hold no member: each is told where it is missing.
                Err(error) if error.code() == Some("WRONGTYPE") => return Ok(()),
                page => page.map_err(away)?,
            };
            // A sorted set answers with each member's score behind it.
            let step = if kind == SetKind::Sorted { 2 } else { 1 };
            let mut suspects = Vec::new();
            for member in entries.into_iter().step_by(step) {
                let text = std::str::from_utf8(&member).ok();
                match text.and_then(|text| Some((self.redis.keys().member(key, text)?, text))) {
                    Some((id, text)) => suspects.push(Suspect::member(id, key, kind, text)),
                    // It is found once, whatever the number of parts.
                    None if self.fold.part().number == 0 => {
                        self.redis.audit_garbage(self.mode, key, kind, member, self.report).await?;
                    }
                    None => {}
                }
            }
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
        // What is there may be what the entries that can't be read tell of.
        if self.fold.is_unreadable(suspect.id) || !self.strays.is_empty() {
            return true;
        }
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
            self.fold_on(&look.newer);
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
}

/// The type of what is put together of many aggregates. A hash of one aggregate is compared as a whole.
const fn type_of(model: ReadModel) -> Option<&'static str> {
    match model {
        ReadModel::Index(SetKind::Plain) => Some("set"),
        ReadModel::Index(SetKind::Sorted)
        | ReadModel::Window
        | ReadModel::Standings
        | ReadModel::Best
        | ReadModel::Records
        | ReadModel::Boards => Some("zset"),
        ReadModel::Stored => Some("hash"),
        ReadModel::Hash(_) | ReadModel::Results(_) => None,
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
