//! The event log and the state it folds to.

use std::collections::HashMap;

use async_trait::async_trait;
use events::log::stored::StoredEvent;
use events::policy::PolicyRecord;
use events::ports::{EventLogPort, HistoryEntry, Loaded, LoadedUsage, PortError};
use events::{Commit, CommitError, Job, JobId, Lane, Limits, StreamId, Submission, SubmissionId, UserId};
use projections::fields::EVENT_IDS;
use redis::Value;

use super::entries::read_entries;
use crate::faults::failpoint;
use crate::redis::connection::trouble::{away, unreadable};
use crate::redis::{Redis, redis_time};

pub(crate) type Hash = HashMap<String, String>;

impl Redis {
    pub(crate) async fn load(&self, key: &str) -> Result<((i64, i64), Hash), PortError> {
        let mut read = redis::pipe();
        read.cmd("TIME").cmd("HGETALL").arg(key);
        read.query_async(&mut self.connection()).await.map_err(away)
    }
}

#[async_trait]
impl EventLogPort for Redis {
    async fn load_job(&self, id: JobId) -> Result<Loaded<Job>, PortError> {
        let key = self.keys().job(id);
        let (time, hash) = self.load(&key).await?;
        let state = projections::job::read(&key, id, &hash).map_err(unreadable)?;
        Ok(Loaded { state, now: redis_time(time) })
    }

    async fn load_submission(&self, id: SubmissionId) -> Result<Loaded<Submission>, PortError> {
        let key = self.keys().submission(id);
        let (time, hash) = self.load(&key).await?;
        let state = projections::submission::read(&key, id, &hash).map_err(unreadable)?;
        Ok(Loaded { state, now: redis_time(time) })
    }

    async fn load_policy(&self) -> Result<Loaded<PolicyRecord>, PortError> {
        let key = self.keys().policy();
        let (time, hash) = self.load(&key).await?;
        let state = projections::policy::read(&key, &hash).map_err(unreadable)?;
        Ok(Loaded { state, now: redis_time(time) })
    }

    async fn load_usage(&self, user: &UserId, limits: &Limits) -> Result<LoadedUsage, PortError> {
        self.usage(user, limits).await
    }

    async fn commit(&self, commit: Commit) -> Result<Vec<StreamId>, CommitError> {
        let committer = match commit.lane {
            Lane::Admission => &self.admission,
            Lane::Progress => &self.progress,
        };
        failpoint!("commit.{}.before", commit.change.kind());
        let seen = self.position.get();
        let made = committer.commit(&self.keys, &commit).await;
        if let (Err(CommitError::Regressed), Some(lost)) = (&made, seen.max(self.position.get())) {
            self.record_regress(lost).await?;
        }
        failpoint!("commit.{}.after", commit.change.kind());
        made
    }

    async fn history(&self, job: JobId, after: u64) -> Result<Vec<HistoryEntry>, PortError> {
        let mut connection = self.connection();
        let ids: Option<String> = redis::cmd("HGET")
            .arg(self.keys().job(job))
            .arg(EVENT_IDS)
            .query_async(&mut connection)
            .await
            .map_err(away)?;
        let ids = ids.unwrap_or_default();
        let mut read = redis::pipe();
        // The n-th id is of the event with seq n: versions have no gap.
        let wanted = usize::try_from(after).unwrap_or(usize::MAX);
        for id in ids.split_ascii_whitespace().skip(wanted) {
            read.cmd("XRANGE").arg(self.keys().events()).arg(id).arg(id);
        }
        if read.is_empty() {
            return Ok(vec![]);
        }
        let replies: Vec<Value> = read.ignore_errors().query_async(&mut connection).await.map_err(away)?;
        let mut history = Vec::with_capacity(replies.len());
        for (seq, reply) in (after.saturating_add(1)..).zip(&replies) {
            for mut entry in read_entries(reply).unwrap_or_else(|error| vec![no_entry(&error)]) {
                // An entry that can't be read may not tell its number.
                entry.event.seq = seq;
                history.push(entry);
            }
        }
        Ok(history)
    }

    async fn read(&self, after: Option<StreamId>, count: usize) -> Result<Vec<HistoryEntry>, PortError> {
        let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let reply: Value = redis::cmd("XRANGE")
            .arg(self.keys().events())
            .arg(start)
            .arg("+")
            .arg("COUNT")
            .arg(count)
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        read_entries(&reply)
    }
}

/// What stands for an entry that has no place in the log.
fn no_entry(error: &PortError) -> HistoryEntry {
    let event = StoredEvent::default().unreadable(format!("it is not found in the log: {error}"));
    HistoryEntry { id: StreamId { ms: 0, seq: 0 }, event }
}
