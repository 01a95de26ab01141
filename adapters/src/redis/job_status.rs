//! The read models as clients ask for them.

use std::collections::HashMap;

use async_trait::async_trait;
use events::job::Waiting;
use events::ports::{
    JobPage, JobQuery, JobStatusPort, PortError, QueuePosition, SlotHolder, SubmissionPage, SubmissionQuery,
};
use events::{Answered, Job, JobId, JobState, Results, Submission, SubmissionId, UserId};

use projections::job::RUNNING;
use redis::Value;

use super::index::{MAX_ENTRIES_A_PAGE, MAX_PAGE};
use super::{Redis, away, corrupt};

type Hash = HashMap<String, String>;

/// What a job's hash says, each judged by itself.
pub(super) enum Record {
    /// This job.
    Job(Box<Job>),
    /// There is none.
    Absent,
    /// Something else, for this reason.
    Unreadable(String),
}

impl Redis {
    async fn hash(&self, key: &str) -> Result<Hash, PortError> {
        redis::cmd("HGETALL").arg(key).query_async(&mut self.connection()).await.map_err(|error| away(&error))
    }

    pub(super) async fn read_jobs(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>, PortError> {
        let keys = ids.iter().map(|id| self.keys().job(*id)).collect::<Vec<_>>();
        let hashes = self.hashes(&keys).await?;
        let job = |((id, key), hash): ((&JobId, &String), &Hash)| projections::job::read(key, *id, hash);
        ids.iter().zip(&keys).zip(&hashes).map(job).collect::<Result<_, _>>().map_err(corrupt)
    }

    async fn read_submissions(&self, ids: &[SubmissionId]) -> Result<Vec<Option<Submission>>, PortError> {
        let keys = ids.iter().map(|id| self.keys().submission(*id)).collect::<Vec<_>>();
        let hashes = self.hashes(&keys).await?;
        let submission =
            |((id, key), hash): ((&SubmissionId, &String), &Hash)| projections::submission::read(key, *id, hash);
        ids.iter().zip(&keys).zip(&hashes).map(submission).collect::<Result<_, _>>().map_err(corrupt)
    }

    /// The records of these jobs. One that can't be read keeps no other.
    pub(super) async fn records_apart(&self, ids: &[JobId]) -> Result<Vec<Record>, PortError> {
        let keys = ids.iter().map(|id| self.keys().job(*id)).collect::<Vec<_>>();
        let hashes = self.hashes_apart(keys.iter().map(String::as_str)).await?;
        let record = |((id, key), hash): ((&JobId, &String), Result<Hash, String>)| {
            let job = hash.and_then(|hash| projections::job::read(key, *id, &hash).map_err(|error| error.to_string()));
            match job {
                Ok(Some(job)) => Record::Job(Box::new(job)),
                Ok(None) => Record::Absent,
                Err(why) => Record::Unreadable(why),
            }
        };
        Ok(ids.iter().zip(&keys).zip(hashes).map(record).collect())
    }

    /// The hashes at these keys, or why one can't be read.
    pub(super) async fn hashes_apart<'a>(
        &self,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<Result<Hash, String>>, PortError> {
        let mut read = redis::pipe();
        for key in keys {
            read.cmd("HGETALL").arg(key);
        }
        if read.is_empty() {
            return Ok(vec![]);
        }
        let replies: Vec<redis::RedisResult<Value>> =
            read.ignore_errors().query_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        let hash = |reply: redis::RedisResult<Value>| {
            let reply = reply.map_err(|error| error.to_string())?;
            redis::from_redis_value(reply).map_err(|error| error.to_string())
        };
        Ok(replies.into_iter().map(hash).collect())
    }

    pub(super) async fn hashes(&self, keys: &[String]) -> Result<Vec<Hash>, PortError> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let mut read = redis::pipe();
        for key in keys {
            read.cmd("HGETALL").arg(key);
        }
        read.query_async(&mut self.connection()).await.map_err(|error| away(&error))
    }
}

#[async_trait]
impl JobStatusPort for Redis {
    async fn job(&self, id: JobId) -> Result<Option<Job>, PortError> {
        let key = self.keys().job(id);
        projections::job::read(&key, id, &self.hash(&key).await?).map_err(corrupt)
    }

    async fn results(&self, id: JobId) -> Result<Option<Results>, PortError> {
        let key = self.keys().result(id);
        projections::results::read(&key, &self.hash(&key).await?).map_err(corrupt)
    }

    async fn submission(&self, id: SubmissionId) -> Result<Option<Submission>, PortError> {
        let key = self.keys().submission(id);
        projections::submission::read(&key, id, &self.hash(&key).await?).map_err(corrupt)
    }

    async fn answered(&self, user: &UserId, key_sha256: &str) -> Result<Option<Answered>, PortError> {
        let key = self.keys().idempotency(user, key_sha256);
        projections::idempotency::read(&key, &self.hash(&key).await?).map_err(corrupt)
    }

    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, PortError> {
        let index = query.user.as_ref().map_or_else(|| self.keys().jobs(), |user| self.keys().user_jobs(user));
        let mut page = JobPage { jobs: vec![], next: query.cursor };
        let mut left = MAX_ENTRIES_A_PAGE;
        while left > 0 {
            let count = query.limit.clamp(1, MAX_PAGE).min(left);
            let places = self.index(&index, page.next, count).await?;
            if places.is_empty() {
                page.next = None;
                return Ok(page);
            }
            left -= places.len();
            let ids: Vec<JobId> = places.iter().map(|place| place.id).collect();
            for (place, job) in places.iter().zip(self.read_jobs(&ids).await?) {
                page.next = Some(*place);
                let wanted = |job: &Job| query.status.is_none_or(|status| job.status() == status);
                page.jobs.extend(job.filter(wanted));
                if page.jobs.len() == query.limit {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    async fn submissions(&self, query: &SubmissionQuery) -> Result<SubmissionPage, PortError> {
        let index =
            query.user.as_ref().map_or_else(|| self.keys().submissions(), |user| self.keys().user_submissions(user));
        let count = query.limit.clamp(1, MAX_PAGE);
        let places = self.index(&index, query.cursor, count).await?;
        let ids: Vec<SubmissionId> = places.iter().map(|place| place.id).collect();
        Ok(SubmissionPage {
            submissions: self.read_submissions(&ids).await?.into_iter().flatten().collect(),
            next: places.last().copied().filter(|_| places.len() == count),
        })
    }

    async fn positions(&self, jobs: &[Job]) -> Result<Vec<Option<QueuePosition>>, PortError> {
        let mut read = redis::pipe();
        let mut ranked = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            let (line, id, holders) = match job.state {
                JobState::Pending(Waiting::Dispatched(_)) => (self.keys().pending(&job.spec.class), job.id, None),
                JobState::Pending(Waiting::Held) => {
                    (self.keys().user_held(&job.spec.user), job.id, Some(self.keys().user_active(&job.spec.user)))
                }
                JobState::Pending(Waiting::Delayed(_))
                | JobState::Running
                | JobState::Completed(_)
                | JobState::Failed(_)
                | JobState::Cancelled(_)
                | JobState::DeadLettered(_) => continue,
            };
            read.cmd("ZRANK").arg(line).arg(id.to_string());
            ranked.push((number, holders.is_some()));
            if let Some(holders) = holders {
                // Those that run have the highest score.
                read.cmd("ZRANGE").arg(holders).arg(&["0", "0", "REV", "WITHSCORES"]);
            }
        }
        let mut positions = vec![None; jobs.len()];
        if ranked.is_empty() {
            return Ok(positions);
        }
        let replies: Vec<Value> = read.query_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        let mut replies = replies.iter();
        let mut next = || replies.next().ok_or_else(|| corrupt("a reply is missing"));
        for (number, is_held) in ranked {
            let rank: Option<u64> = redis::from_redis_value_ref(next()?).map_err(corrupt)?;
            positions[number] = if is_held {
                let holder = read_holder(next()?)?;
                rank.map(|ahead| QueuePosition::Held { ahead, holder })
            } else {
                rank.map(|ahead| QueuePosition::Dispatched { ahead })
            };
        }
        Ok(positions)
    }

    async fn ping(&self) -> Result<(), PortError> {
        redis::cmd("PING").query_async(&mut self.connection()).await.map_err(|error| away(&error))
    }
}

/// The first of a user's jobs that have a slot.
fn read_holder(reply: &Value) -> Result<Option<SlotHolder>, PortError> {
    let holders: Vec<(String, i64)> = redis::from_redis_value_ref(reply).map_err(corrupt)?;
    let Some((job, score)) = holders.first() else { return Ok(None) };
    let job: JobId = job.parse().map_err(corrupt)?;
    Ok(Some(if *score == RUNNING { SlotHolder::Running(job) } else { SlotHolder::Dispatched(job) }))
}
