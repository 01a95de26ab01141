//! The read models as clients ask for them.

use std::collections::HashMap;

use async_trait::async_trait;
use events::job::Waiting;
use events::ports::{
    FoundResults, JobPage, JobQuery, JobStatusPort, Owned, PortError, QueuePosition, SlotHolder, SubmissionPage,
    SubmissionQuery, Unreadable,
};
use events::{Answered, Job, JobId, JobState, Submission, SubmissionId, UserId};

use projections::fields::USER;
use projections::job::RUNNING;
use redis::{RedisResult, Value};

use super::index::{MAX_ENTRIES_A_PAGE, MAX_PAGE};
use crate::redis::Redis;
use crate::redis::connection::trouble::{WRONG_TYPE, away, corrupt, unreadable};

type Hash = HashMap<String, String>;

/// What a job's hash says, each judged by itself.
pub(crate) enum Record {
    /// This job.
    Job(Box<Job>),
    /// There is none.
    Absent,
    /// Something else, for this reason.
    Unreadable(String),
}

impl Redis {
    async fn hash(&self, key: &str) -> Result<Hash, PortError> {
        redis::cmd("HGETALL").arg(key).query_async(&mut self.connection()).await.map_err(away)
    }

    /// Jobs, each by itself: none for one without a record, or what is wrong with its record.
    pub(crate) async fn read_each_job(&self, ids: &[JobId]) -> Result<Vec<Result<Option<Job>, String>>, PortError> {
        let keys = ids.iter().map(|id| self.keys().job(*id)).collect::<Vec<_>>();
        let hashes = self.hashes(&keys).await?;
        let job = |((id, key), hash): ((&JobId, &String), Result<Hash, String>)| {
            projections::job::read(key, *id, &hash?).map_err(|error| error.problem)
        };
        Ok(ids.iter().zip(&keys).zip(hashes).map(job).collect())
    }

    async fn read_submissions(
        &self,
        ids: &[SubmissionId],
    ) -> Result<Vec<Result<Option<Submission>, String>>, PortError> {
        let keys = ids.iter().map(|id| self.keys().submission(*id)).collect::<Vec<_>>();
        let hashes = self.hashes(&keys).await?;
        let submission = |((id, key), hash): ((&SubmissionId, &String), Result<Hash, String>)| {
            projections::submission::read(key, *id, &hash?).map_err(|error| error.problem)
        };
        Ok(ids.iter().zip(&keys).zip(hashes).map(submission).collect())
    }

    /// The records of these jobs. One that can't be read keeps no other.
    pub(crate) async fn records_apart(&self, ids: &[JobId]) -> Result<Vec<Record>, PortError> {
        let record = |job| match job {
            Ok(Some(job)) => Record::Job(Box::new(job)),
            Ok(None) => Record::Absent,
            Err(why) => Record::Unreadable(why),
        };
        Ok(self.read_each_job(ids).await?.into_iter().map(record).collect())
    }

    /// The hashes at these keys, or what is wrong with each: it is no hash, or holds what is no text.
    pub(crate) async fn hashes(&self, keys: &[String]) -> Result<Vec<Result<Hash, String>>, PortError> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let mut read = redis::pipe();
        for key in keys {
            read.cmd("HGETALL").arg(key);
        }
        let replies: Vec<Value> = read.ignore_errors().query_async(&mut self.connection()).await.map_err(away)?;
        Ok(replies.into_iter().map(read_hash).collect())
    }
}

fn read_hash(reply: Value) -> Result<Hash, String> {
    match reply {
        Value::ServerError(error) if error.code() == WRONG_TYPE => {
            Err("the record in Redis is a value of another type".to_owned())
        }
        Value::ServerError(error) => Err(format!("Redis does not give the record: {}", error.code())),
        reply => redis::from_redis_value(reply).map_err(|_| "the record holds bytes that are not UTF-8".to_owned()),
    }
}

#[async_trait]
impl JobStatusPort for Redis {
    async fn job(&self, id: JobId) -> Result<Option<Job>, PortError> {
        let key = self.keys().job(id);
        projections::job::read(&key, id, &self.hash(&key).await?).map_err(unreadable)
    }

    async fn results(&self, id: JobId) -> Result<Option<FoundResults>, PortError> {
        let key = self.keys().result(id);
        match self.hash(&key).await {
            Ok(hash) => Ok(projections::results::read(&key, &hash)),
            Err(PortError::Corrupt(why)) => Ok(Some(projections::results::unreadable(&why.to_string()))),
            Err(away) => Err(away),
        }
    }

    async fn submission(&self, id: SubmissionId) -> Result<Option<Submission>, PortError> {
        let key = self.keys().submission(id);
        projections::submission::read(&key, id, &self.hash(&key).await?).map_err(unreadable)
    }

    async fn owner(&self, what: Owned) -> Result<Option<UserId>, PortError> {
        let key = match what {
            Owned::Job(id) => self.keys().job(id),
            Owned::Submission(id) => self.keys().submission(id),
        };
        let user: RedisResult<Option<String>> =
            redis::cmd("HGET").arg(&[&key, USER]).query_async(&mut self.connection()).await;
        match user.map_err(away) {
            Ok(user) => Ok(user.and_then(|user| user.parse().ok())),
            Err(PortError::Corrupt(_)) => Ok(None),
            Err(away) => Err(away),
        }
    }

    async fn answered(&self, user: &UserId, key_sha256: &str) -> Result<Option<Answered>, PortError> {
        let key = self.keys().idempotency(user, key_sha256);
        projections::idempotency::read(&key, &self.hash(&key).await?).map_err(unreadable)
    }

    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, PortError> {
        let index = query.user.as_ref().map_or_else(|| self.keys().jobs(), |user| self.keys().user_jobs(user));
        let mut page = JobPage { next: query.cursor, ..JobPage::default() };
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
            for (place, job) in places.iter().zip(self.read_each_job(&ids).await?) {
                page.next = Some(*place);
                let wanted = |job: &Job| query.status.is_none_or(|status| job.status() == status);
                match job {
                    Ok(job) => page.jobs.extend(job.filter(wanted)),
                    Err(reason) => page.unreadable.push(Unreadable { id: place.id, reason }),
                }
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
        let next = places.last().copied().filter(|_| places.len() == count);
        let mut page = SubmissionPage { next, ..SubmissionPage::default() };
        for (id, submission) in ids.iter().zip(self.read_submissions(&ids).await?) {
            match submission {
                Ok(submission) => page.submissions.extend(submission),
                Err(reason) => page.unreadable.push(Unreadable { id: *id, reason }),
            }
        }
        Ok(page)
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
        let replies: Vec<Value> = read.ignore_errors().query_async(&mut self.connection()).await.map_err(away)?;
        let mut replies = replies.iter();
        let mut next = || replies.next().ok_or_else(|| corrupt("a reply is missing"));
        for (number, is_held) in ranked {
            // A line that is no line tells nothing of where a job stands in it.
            let rank: Option<u64> = redis::from_redis_value_ref(next()?).unwrap_or_default();
            positions[number] = if is_held {
                let holder = read_holder(next()?);
                rank.map(|ahead| QueuePosition::Held { ahead, holder })
            } else {
                rank.map(|ahead| QueuePosition::Dispatched { ahead })
            };
        }
        Ok(positions)
    }

    async fn ping(&self) -> Result<(), PortError> {
        redis::cmd("PING").query_async(&mut self.connection()).await.map_err(away)
    }
}

/// The first of a user's jobs that have a slot, if it can be read.
fn read_holder(reply: &Value) -> Option<SlotHolder> {
    let holders: Vec<(String, i64)> = redis::from_redis_value_ref(reply).ok()?;
    let (job, score) = holders.first()?;
    let job: JobId = job.parse().ok()?;
    Some(if *score == RUNNING { SlotHolder::Running(job) } else { SlotHolder::Dispatched(job) })
}
