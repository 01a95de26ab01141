//! The read models as clients ask for them.

use std::collections::HashMap;

use async_trait::async_trait;
use events::job::Waiting;
use events::ports::{JobPage, JobQuery, JobStatusPort, PageCursor, PortError, QueuePosition};
use events::{Job, JobId, JobState, Results, Submission, SubmissionId};

use super::{Redis, away, corrupt};

type Hash = HashMap<String, String>;

/// How many index entries one page may read.
pub(super) const MAX_ENTRIES_A_PAGE: usize = 1_000;
/// How many index entries are read at a time.
const INDEX_CHUNK: usize = 100;

impl Redis {
    async fn hash(&self, key: &str) -> Result<Hash, PortError> {
        redis::cmd("HGETALL").arg(key).query_async(&mut self.connection()).await.map_err(|error| away(&error))
    }

    /// The `count` entries of a newest-first index that follow `cursor`.
    pub(super) async fn index(
        &self,
        key: &str,
        cursor: Option<PageCursor>,
        count: usize,
    ) -> Result<Vec<PageCursor>, PortError> {
        let newest = cursor.map_or_else(|| "+inf".to_owned(), |cursor| cursor.created_ms.to_string());
        let mut places = Vec::with_capacity(count);
        let mut offset = 0;
        loop {
            let entries: Vec<(String, f64)> = redis::cmd("ZRANGE")
                .arg(key)
                .arg(&newest)
                .arg(&["-inf", "BYSCORE", "REV", "LIMIT"])
                .arg(offset)
                .arg(INDEX_CHUNK)
                .arg("WITHSCORES")
                .query_async(&mut self.connection())
                .await
                .map_err(|error| away(&error))?;
            offset += entries.len();
            let last_chunk = entries.len() < INDEX_CHUNK;
            for (job, score) in entries {
                #[expect(clippy::cast_possible_truncation, reason = "scores are milliseconds, far below 2^53")]
                let place = PageCursor { created_ms: score as i64, job: job.parse().map_err(corrupt)? };
                // Jobs of one millisecond share a score: those up to the cursor come again.
                let seen = cursor.is_some_and(|seen| (place.created_ms, place.job) >= (seen.created_ms, seen.job));
                if !seen {
                    places.push(place);
                }
                if places.len() == count {
                    return Ok(places);
                }
            }
            if last_chunk {
                return Ok(places);
            }
        }
    }

    pub(super) async fn read_jobs(&self, ids: &[JobId]) -> Result<Vec<Option<Job>>, PortError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let mut read = redis::pipe();
        for id in ids {
            read.cmd("HGETALL").arg(self.keys().job(*id));
        }
        let hashes: Vec<Hash> = read.query_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        let job =
            |(id, hash): (&JobId, &Hash)| projections::job::read(&self.keys().job(*id), *id, hash).map_err(corrupt);
        ids.iter().zip(&hashes).map(job).collect()
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

    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, PortError> {
        let index = query.user.as_ref().map_or_else(|| self.keys().jobs(), |user| self.keys().user_jobs(user));
        let mut page = JobPage { jobs: vec![], next: query.cursor };
        let mut left = MAX_ENTRIES_A_PAGE;
        while left > 0 {
            let count = query.limit.clamp(1, 200).min(left);
            let places = self.index(&index, page.next, count).await?;
            if places.is_empty() {
                page.next = None;
                return Ok(page);
            }
            left -= places.len();
            let ids: Vec<JobId> = places.iter().map(|place| place.job).collect();
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

    async fn position(&self, job: &Job) -> Result<Option<QueuePosition>, PortError> {
        if !matches!(job.state, JobState::Pending(Waiting::Dispatched(_))) {
            return Ok(None);
        }
        let rank: Option<u64> = redis::cmd("ZRANK")
            .arg(self.keys().pending(&job.spec.class))
            .arg(job.id.to_string())
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        Ok(rank.map(|ahead| QueuePosition { ahead }))
    }

    async fn ping(&self) -> Result<(), PortError> {
        redis::cmd("PING").query_async(&mut self.connection()).await.map_err(|error| away(&error))
    }
}
