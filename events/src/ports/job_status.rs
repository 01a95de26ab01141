//! What clients read: the projections of the log.

use async_trait::async_trait;

use crate::id::{JobId, SubmissionId, UserId};
use crate::job::{Job, JobStatus};
use crate::ports::{PageCursor, PortError};
use crate::results::Results;
use crate::submission::Submission;

/// What clients read: the projections of the log.
#[async_trait]
pub trait JobStatusPort: Send + Sync {
    /// A job as it stands.
    async fn job(&self, id: JobId) -> Result<Option<Job>, PortError>;

    /// The results of a job that completed.
    async fn results(&self, id: JobId) -> Result<Option<Results>, PortError>;

    /// A submission as it stands.
    async fn submission(&self, id: SubmissionId) -> Result<Option<Submission>, PortError>;

    /// Jobs, newest first. Reads at most 1,000 index entries, so a page may be short and still have a cursor.
    async fn jobs(&self, query: &JobQuery) -> Result<JobPage, PortError>;

    /// Submissions, newest first. One that is removed meanwhile is left out, so a page may be short and still have a cursor.
    async fn submissions(&self, query: &SubmissionQuery) -> Result<SubmissionPage, PortError>;

    /// How many jobs of its class were dispatched before each of these; none for one that does not wait for a worker.
    async fn positions(&self, jobs: &[Job]) -> Result<Vec<Option<QueuePosition>>, PortError>;

    /// Whether Redis answers.
    async fn ping(&self) -> Result<(), PortError>;
}

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobQuery {
    /// Only this user's; everybody's for none.
    pub user: Option<UserId>,
    /// Only those of this status.
    pub status: Option<JobStatus>,
    /// Where to go on.
    pub cursor: Option<PageCursor<JobId>>,
    /// At most this many.
    pub limit: usize,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<JobId>>,
}

/// Which submissions to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionQuery {
    /// Only this user's; everybody's for none.
    pub user: Option<UserId>,
    /// Where to go on.
    pub cursor: Option<PageCursor<SubmissionId>>,
    /// At most this many.
    pub limit: usize,
}

/// A page of submissions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubmissionPage {
    /// The submissions, newest first.
    pub submissions: Vec<Submission>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor<SubmissionId>>,
}

/// Where a job stands in its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    /// Jobs of its class dispatched earlier and not yet started.
    pub ahead: u64,
}
