//! Moves unreadable entries, and entries without a record, into the quarantine, and counts them.

use events::ports::PortError;
use events::{ClassName, UserId};
use projections::keys::{ReadModel, WORKERS_GROUP};
use projections::patch::SetKind;
use redis::{Script, Value};

use crate::redis::Redis;
use crate::redis::commit::wire::decode_lease;
use crate::redis::connection::raw::{bytes, entries, items, named, parse};
use crate::redis::connection::trouble::{away, is_no_group};

/// How much of a content that can't be read is kept, in bytes.
const KEPT_BYTES: usize = 1_024;
/// How many tickets are read at a time.
const PAGE: usize = 1_000;

/// A job and its lease as they are stored.
pub(crate) type RawLease = (Vec<u8>, Vec<u8>);

/// What accounts for the members of an index.
#[derive(Debug, Clone, Copy)]
struct Rule {
    /// Whether they are submissions, and not jobs.
    submissions: bool,
    /// The field of their hash that tells whether they belong there.
    field: &'static str,
    /// What it may hold: `""` for a hash or a field that is not there, `"*"` for anything.
    holds: &'static [&'static str],
}

/// All that is an id: whether it is the right one is for the audit to find.
const ANY_ID: Rule = Rule { submissions: false, field: "state", holds: &["", "*"] };

impl Redis {
    /// Sets aside the entries on which the sweeps of a worker would fail: leases, tickets of these classes, and indexes
    /// of jobs that have not ended. Returns their number.
    pub(crate) async fn tidy_work(&self, classes: &[ClassName]) -> Result<u64, PortError> {
        let keys = self.keys();
        let mut count = self.tidy_leases().await?;
        for key in [keys.open(), keys.delayed(), keys.untracked()] {
            count += self.tidy_index(&key).await?;
        }
        for class in classes {
            count += self.tidy_index(&keys.pending(class)).await? + self.tidy_queue(&keys.queue(class)).await?;
        }
        Ok(count)
    }

    /// Does the same for the indexes of what a user has in use.
    pub(crate) async fn tidy_slots(&self, user: &UserId) -> Result<u64, PortError> {
        let keys = self.keys();
        let mut count = 0;
        for key in [keys.user_active(user), keys.user_held(user), keys.user_delayed(user)] {
            count += self.tidy_index(&key).await?;
        }
        Ok(count)
    }

    /// Sets aside all unreadable entries and returns their number. Unreadable records stay: only the log can restore
    /// them.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn tidy_all(&self) -> Result<u64, PortError> {
        let mut count = self.tidy_leases().await?;
        let mut cursor = 0_u64;
        loop {
            let (next, page): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg(&["MATCH", &self.keys().pattern(), "COUNT", "1000"])
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            for key in page.into_iter().filter_map(|key| String::from_utf8(key).ok()) {
                count += match self.keys().read_model(&key) {
                    Some(ReadModel::Index(_) | ReadModel::Window) => self.tidy_index(&key).await?,
                    _ if key.starts_with(&self.keys().queue_prefix()) => self.tidy_queue(&key).await?,
                    _ => 0,
                };
            }
            cursor = next;
            if cursor == 0 {
                return Ok(count);
            }
        }
    }

    /// Counts the records of jobs and submissions that can't be read.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn count_unreadable_records(&self) -> Result<u64, PortError> {
        let (mut count, mut cursor) = (0, 0_u64);
        loop {
            let (next, page): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg(&["MATCH", &self.keys().pattern(), "COUNT", "500"])
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            let page = page.into_iter().filter_map(|key| String::from_utf8(key).ok());
            let records: Vec<(String, events::AggregateId)> = page
                .filter_map(|key| match self.keys().read_model(&key) {
                    Some(ReadModel::Hash(id)) => Some((key, id)),
                    _ => None,
                })
                .collect();
            let hashes = self.hashes(&records.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()).await?;
            for ((key, id), hash) in records.iter().zip(hashes) {
                let is_readable = hash.is_ok_and(|hash| match id {
                    events::AggregateId::Job(id) => projections::job::read(key, *id, &hash).is_ok(),
                    events::AggregateId::Submission(id) => projections::submission::read(key, *id, &hash).is_ok(),
                    events::AggregateId::Policy => projections::policy::read(key, &hash).is_ok(),
                    events::AggregateId::Log => true,
                });
                count += u64::from(!is_readable);
            }
            cursor = next;
            if cursor == 0 {
                return Ok(count);
            }
        }
    }

    /// Sets aside a work stream that is none, and its tickets that name no job; puts back what a consumer holds whose
    /// name is no worker's.
    pub(crate) async fn tidy_queue(&self, key: &str) -> Result<u64, PortError> {
        let mut count = self.set_aside(key, "stream", None).await?;
        let mut after = "-".to_owned();
        loop {
            let page: Value = redis::cmd("XRANGE")
                .arg(&[key, &after, "+", "COUNT"])
                .arg(PAGE)
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            let page = entries(&page);
            let Some(last) = page.last() else { break };
            after = format!("({}", last.id);
            for entry in page.iter().filter(|entry| entry.job().is_none()) {
                count += self.set_aside(key, "stream", Some((entry.id.to_string().as_bytes(), b""))).await?;
            }
        }
        for (name, _) in self.consumers_of(key).await? {
            if parse::<events::Consumer>(&name).is_none() {
                tracing::warn!(key, name = %String::from_utf8_lossy(&name), "a consumer is not a worker; returning its tickets to the queue");
                let evict = Script::new(include_str!("evict.lua"));
                while evict.key(key).arg(&name).invoke_async::<u64>(&mut self.connection()).await.map_err(away)? > 0 {}
                count += 1;
            }
        }
        note(key, count);
        Ok(count)
    }

    /// Returns the consumers of a work stream, and how many tickets each holds.
    pub(crate) async fn consumers_of(&self, key: &str) -> Result<Vec<(Vec<u8>, u64)>, PortError> {
        let reply =
            redis::cmd("XINFO").arg(&["CONSUMERS", key, WORKERS_GROUP]).query_async(&mut self.connection()).await;
        let reply: Value = match reply {
            Err(error) if is_no_group(&error) || error.code() == Some("ERR") => return Ok(vec![]),
            reply => reply.map_err(away)?,
        };
        let consumer = |consumer: &Value| {
            let pending = match named(consumer, "pending") {
                Some(Value::Int(count)) => u64::try_from(*count).unwrap_or_default(),
                _ => 0,
            };
            Some((bytes(named(consumer, "name")?)?.to_vec(), pending))
        };
        Ok(items(&reply).iter().filter_map(consumer).collect())
    }

    async fn tidy_leases(&self) -> Result<u64, PortError> {
        let key = self.keys().leases();
        let mut count = self.set_aside(&key, "hash", None).await?;
        for (field, content) in self.raw_leases().await? {
            if parse::<events::JobId>(&field).is_none()
                || std::str::from_utf8(&content).ok().and_then(decode_lease).is_none()
            {
                let seen = &content[..content.len().min(KEPT_BYTES)];
                count += self.set_aside(&key, "hash", Some((&field, seen))).await?;
            }
        }
        note(&key, count);
        Ok(count)
    }

    /// Returns all leases as they are stored. A lease may come twice.
    pub(crate) async fn raw_leases(&self) -> Result<Vec<RawLease>, PortError> {
        let (mut leases, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let (next, page): (u64, Vec<RawLease>) = redis::cmd("HSCAN")
                .arg(self.keys().leases())
                .arg(cursor)
                .arg(&["COUNT", "500"])
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            leases.extend(page);
            cursor = next;
            if cursor == 0 {
                return Ok(leases);
            }
        }
    }

    async fn tidy_index(&self, key: &str) -> Result<u64, PortError> {
        let kind = match self.keys().read_model(key) {
            Some(ReadModel::Index(SetKind::Plain)) => "set",
            _ => "zset",
        };
        let rule = self.rule(key);
        let prefix = if rule.submissions { self.keys().submission_prefix() } else { self.keys().job_prefix() };
        let script = Script::new(include_str!("tidy_index.lua"));
        let (mut count, mut cursor) = (0, "0".to_owned());
        loop {
            let mut call = script.prepare_invoke();
            call.key(key).key(self.keys().quarantine()).arg(kind).arg(&cursor).arg(&prefix).arg(rule.field);
            for word in rule.holds {
                call.arg(*word);
            }
            let (next, moved): (String, u64) = call.invoke_async(&mut self.connection()).await.map_err(away)?;
            count += moved;
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        note(key, count);
        Ok(count)
    }

    /// What accounts for the members of an index. The whole name decides: a user may be called anything.
    fn rule(&self, key: &str) -> Rule {
        let keys = self.keys();
        let state = |holds| Rule { submissions: false, field: "state", holds };
        let user_index = key.strip_prefix(&keys.user_prefix()).and_then(|rest| rest.rsplit_once(':'));
        if let Some((_, what)) = user_index {
            return match what {
                "active" => state(&["dispatched", "running"]),
                "held" => state(&["held"]),
                "delayed" => state(&["delayed"]),
                "submissions" => Rule { submissions: true, ..ANY_ID },
                _ => ANY_ID,
            };
        }
        if key == keys.open() {
            // A job whose status is gone is told by the reconciler: the log may know it.
            state(&["", "held", "dispatched", "delayed", "running"])
        } else if key == keys.delayed() {
            state(&["delayed"])
        } else if key == keys.dead_letters() {
            state(&["dead_lettered"])
        } else if key == keys.untracked() {
            Rule { submissions: false, field: "untracked", holds: &["*"] }
        } else if key.starts_with(&keys.pending_prefix()) {
            state(&["dispatched"])
        } else {
            ANY_ID
        }
    }

    /// Moves one entry, or a key of another type, into the quarantine. 1 if it did, 0 if there was nothing to move.
    pub(crate) async fn set_aside(
        &self,
        key: &str,
        kind: &str,
        entry: Option<(&[u8], &[u8])>,
    ) -> Result<u64, PortError> {
        let script = Script::new(include_str!("set_aside.lua"));
        let mut call = script.prepare_invoke();
        call.key(key).key(self.keys().quarantine()).arg(kind);
        if let Some((entry, seen)) = entry {
            call.arg(entry).arg(seen);
        }
        call.invoke_async(&mut self.connection()).await.map_err(away)
    }
}

/// Counts what was set aside, by what kind of key it was in: users and classes are too many for a label.
fn note(key: &str, count: u64) {
    if count > 0 {
        tracing::warn!(key, count, "moved unreadable or unexplained entries to quarantine");
        let kind = key.split_once("}:").map_or(key, |(_, name)| name.split(':').next().unwrap_or(name));
        metrics::counter!("leadersboard_quarantined_total", "from" => kind.to_owned()).increment(count);
    }
}
