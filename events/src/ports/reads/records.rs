//! Records from the oldest on, for whoever removes what was kept for long enough.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::{JobId, SubmissionId};
use crate::job::Job;
use crate::ports::{PageCursor, PortError};
use crate::time::Timestamp;

/// Records from the oldest on.
#[async_trait]
pub trait RecordsPort: Send + Sync {
    /// At most `count` jobs accepted at least `age` ago, oldest first, that follow `after`.
    async fn old_jobs(
        &self,
        age: Duration,
        after: Option<PageCursor<JobId>>,
        count: usize,
    ) -> Result<OldJobs, PortError>;

    /// Of at most `count` submissions made at least `age` ago, oldest first, that follow `after`: those without a job.
    async fn old_submissions(
        &self,
        age: Duration,
        after: Option<PageCursor<SubmissionId>>,
        count: usize,
    ) -> Result<OldSubmissions, PortError>;

    /// At most `count` of the jobs with an end that the tracker has not got yet, oldest first, that follow `after`.
    async fn untracked(&self, after: Option<PageCursor<JobId>>, count: usize) -> Result<UntrackedJobs, PortError>;

    /// How many jobs have an end that the tracker has not got yet.
    async fn count_untracked(&self) -> Result<u64, PortError>;

    /// Those of these submissions that no record tells of.
    async fn unknown(&self, submissions: &[SubmissionId]) -> Result<Vec<SubmissionId>, PortError>;
}

/// A page of old jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct OldJobs {
    /// Redis's time.
    pub now: Timestamp,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<JobId>>,
}

/// A page of the jobs with an end that the tracker has not got yet.
#[derive(Debug, Clone, PartialEq)]
pub struct UntrackedJobs {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<JobId>>,
}

/// A page of old submissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldSubmissions {
    /// Those without a job.
    pub unused: Vec<SubmissionId>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<SubmissionId>>,
}
