//! Records from the oldest on.

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use events::id::InvalidId;
use events::ports::{OldJobs, OldSubmissions, PageCursor, PortError, RecordsPort, UntrackedJobs};
use events::{Job, JobId, SubmissionId, Timestamp};

use super::job_status::Record;
use crate::redis::Redis;
use crate::redis::connection::raw::parse;
use crate::redis::connection::trouble::away;

#[async_trait]
impl RecordsPort for Redis {
    async fn old_jobs(
        &self,
        age: Duration,
        after: Option<PageCursor<JobId>>,
        count: usize,
    ) -> Result<OldJobs, PortError> {
        let now = self.now().await?;
        let (ids, next) = self.oldest(&self.keys().jobs(), before(now, age), after, count).await?;
        Ok(OldJobs { now, jobs: self.readable_jobs(&ids).await?, next })
    }

    async fn old_submissions(
        &self,
        age: Duration,
        after: Option<PageCursor<SubmissionId>>,
        count: usize,
    ) -> Result<OldSubmissions, PortError> {
        let now = self.now().await?;
        let (ids, next) = self.oldest(&self.keys().submissions(), before(now, age), after, count).await?;
        if ids.is_empty() {
            return Ok(OldSubmissions { unused: vec![], next });
        }
        let mut read = redis::pipe();
        for id in &ids {
            read.cmd("EXISTS").arg(self.keys().submission_jobs(*id));
        }
        let used: Vec<bool> = read.query_async(&mut self.connection()).await.map_err(away)?;
        let unused = ids.into_iter().zip(used).filter(|(_, is_used)| !is_used).map(|(id, _)| id).collect();
        Ok(OldSubmissions { unused, next })
    }

    async fn untracked(&self, after: Option<PageCursor<JobId>>, count: usize) -> Result<UntrackedJobs, PortError> {
        let (ids, next) = self.oldest(&self.keys().untracked(), i64::MAX, after, count).await?;
        Ok(UntrackedJobs { jobs: self.readable_jobs(&ids).await?, next })
    }

    async fn count_untracked(&self) -> Result<u64, PortError> {
        let count = redis::cmd("ZCARD").arg(self.keys().untracked()).query_async(&mut self.connection()).await;
        count.map_err(away)
    }

    async fn unknown(&self, submissions: &[SubmissionId]) -> Result<Vec<SubmissionId>, PortError> {
        if submissions.is_empty() {
            return Ok(vec![]);
        }
        // A Redis that was emptied knows of nothing, and may be restored tomorrow.
        if self.read_began().await.map_err(away)? != self.began {
            return Err(PortError::Corrupt("Redis holds another board than when this process began".into()));
        }
        let index = self.keys().submissions();
        let mut read = redis::pipe();
        for id in submissions {
            read.cmd("EXISTS").arg(self.keys().submission(*id)).arg(self.keys().submission_jobs(*id));
            read.cmd("ZSCORE").arg(&index).arg(id.to_string());
        }
        let traces: Vec<Option<f64>> = read.query_async(&mut self.connection()).await.map_err(away)?;
        let is_unknown = |traces: &[Option<f64>]| matches!(traces, [Some(keys), None] if *keys == 0.0);
        let unknown = submissions.iter().zip(traces.chunks(2)).filter(|(_, traces)| is_unknown(traces));
        Ok(unknown.map(|(id, _)| *id).collect())
    }
}

/// The newest that is old enough, in milliseconds since the Unix epoch.
fn before(now: Timestamp, age: Duration) -> i64 {
    now.timestamp_millis().saturating_sub_unsigned(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

impl Redis {
    /// Those of these jobs whose status can be read. A status that is gone or damaged is the audit's to find.
    async fn readable_jobs(&self, ids: &[JobId]) -> Result<Vec<Job>, PortError> {
        let mut jobs = Vec::with_capacity(ids.len());
        for (job, record) in ids.iter().zip(self.records_apart(ids).await?) {
            match record {
                Record::Job(job) => jobs.push(*job),
                Record::Absent => {}
                Record::Unreadable(why) => tracing::warn!(%job, why, "skipped an unreadable job"),
            }
        }
        Ok(jobs)
    }

    /// At most `count` entries of an index up to a time, oldest first, that follow `after`; and where to go on.
    async fn oldest<Id: FromStr<Err = InvalidId> + Ord + Copy>(
        &self,
        key: &str,
        until_ms: i64,
        after: Option<PageCursor<Id>>,
        count: usize,
    ) -> Result<(Vec<Id>, Option<PageCursor<Id>>), PortError> {
        let from = after.map_or_else(|| "-inf".to_owned(), |after| after.created_ms.to_string());
        let until = if until_ms == i64::MAX { "+inf".to_owned() } else { until_ms.to_string() };
        let mut places = Vec::with_capacity(count);
        let mut offset = 0;
        loop {
            let entries: Vec<(Vec<u8>, f64)> = redis::cmd("ZRANGE")
                .arg(&[key, &from, &until, "BYSCORE", "LIMIT"])
                .arg(offset)
                .arg(count)
                .arg("WITHSCORES")
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            offset += entries.len();
            let was_last = entries.len() < count;
            for (id, score) in entries {
                // What is no id is none of ours; the reconciler or `doctor --repair` sets it aside.
                let Some(id) = parse(&id) else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "scores are milliseconds, far below 2^53")]
                let place = PageCursor { created_ms: score as i64, id };
                // Entries of one millisecond share a score: those up to the cursor come again.
                if after.is_none_or(|after| (place.created_ms, place.id) > (after.created_ms, after.id)) {
                    places.push(place);
                }
            }
            if was_last || places.len() >= count {
                let is_end = was_last && places.len() <= count;
                places.truncate(count);
                let next = places.last().copied().filter(|_| !is_end);
                return Ok((places.iter().map(|place| place.id).collect(), next));
            }
        }
    }
}
