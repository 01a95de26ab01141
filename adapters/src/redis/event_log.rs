//! The event log and the state it folds to.

use std::collections::HashMap;

use async_trait::async_trait;
use events::policy::PolicyRecord;
use events::ports::{EventLogPort, HistoryEntry, Loaded, PortError};
use events::stored::StoredEvent;
use events::{Commit, CommitError, Job, JobId, Lane, Limits, StreamId, Submission, SubmissionId, Usage, UserId};
use projections::fields::EVENT_IDS;
use redis::streams::{StreamId as Entry, StreamRangeReply};

use super::wire::STORED_VERSION;
use super::{Redis, away, corrupt, parse_stream_id, redis_time};
use crate::faults::failpoint;

pub(super) type Hash = HashMap<String, String>;

impl Redis {
    pub(super) async fn load(&self, key: &str) -> Result<((i64, i64), Hash), PortError> {
        let mut read = redis::pipe();
        read.cmd("TIME").cmd("HGETALL").arg(key);
        read.query_async(&mut self.connection()).await.map_err(|error| away(&error))
    }
}

#[async_trait]
impl EventLogPort for Redis {
    async fn load_job(&self, id: JobId) -> Result<Loaded<Job>, PortError> {
        let key = self.keys().job(id);
        let (time, hash) = self.load(&key).await?;
        let state = projections::job::read(&key, id, &hash).map_err(corrupt)?;
        Ok(Loaded { state, now: redis_time(time) })
    }

    async fn load_submission(&self, id: SubmissionId) -> Result<Loaded<Submission>, PortError> {
        let key = self.keys().submission(id);
        let (time, hash) = self.load(&key).await?;
        let state = projections::submission::read(&key, id, &hash).map_err(corrupt)?;
        Ok(Loaded { state, now: redis_time(time) })
    }

    async fn load_policy(&self) -> Result<Loaded<PolicyRecord>, PortError> {
        let key = self.keys().policy();
        let (time, hash) = self.load(&key).await?;
        let state = projections::policy::read(&key, &hash).map_err(corrupt)?;
        Ok(Loaded { state, now: redis_time(time) })
    }

    async fn load_usage(&self, user: &UserId, limits: &Limits) -> Result<Usage, PortError> {
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
            .map_err(|error| away(&error))?;
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
        let replies: Vec<StreamRangeReply> = read.query_async(&mut connection).await.map_err(|error| away(&error))?;
        replies.into_iter().flat_map(|reply| reply.ids).map(|entry| read_entry(&entry)).collect()
    }

    async fn read(&self, after: Option<StreamId>, count: usize) -> Result<Vec<HistoryEntry>, PortError> {
        let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let reply: StreamRangeReply = redis::cmd("XRANGE")
            .arg(self.keys().events())
            .arg(start)
            .arg("+")
            .arg("COUNT")
            .arg(count)
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        reply.ids.iter().map(read_entry).collect()
    }
}

pub(super) fn read_entry(entry: &Entry) -> Result<HistoryEntry, PortError> {
    let text = |field: &str| {
        let missing = || corrupt(format!("entry {} of the event log has no {field:?}", entry.id));
        entry.get::<String>(field).ok_or_else(missing)
    };
    let number = |field: &str| {
        text(field)?.parse::<u64>().map_err(|_| corrupt(format!("{field:?} of entry {} is no number", entry.id)))
    };
    Ok(HistoryEntry {
        id: parse_stream_id(&entry.id)?,
        event: StoredEvent {
            kind: text("type")?,
            version: u32::try_from(number(STORED_VERSION)?).map_err(corrupt)?,
            aggregate: text("agg")?,
            seq: number("seq")?,
            at: text("at")?,
            actor: text("actor")?,
            trace: text("trace")?,
            data: text("data")?,
        },
    })
}
