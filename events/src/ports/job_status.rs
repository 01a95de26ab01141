//! What clients read: the projections of the log.

use async_trait::async_trait;

use crate::id::{JobId, SubmissionId, UserId};
use crate::job::{Job, JobStatus};
use crate::ports::PortError;
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

    /// How many jobs of its class were dispatched before it; none unless it waits for a worker.
    async fn position(&self, job: &Job) -> Result<Option<QueuePosition>, PortError>;

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
    pub cursor: Option<PageCursor>,
    /// At most this many.
    pub limit: usize,
}

/// The place after a job in the newest-first order: its time of creation, then its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCursor {
    /// When the last job of the page before was accepted, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Its id.
    pub job: JobId,
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<Job>,
    /// Where to go on; none at the end.
    pub next: Option<PageCursor>,
}

/// Where a job stands in its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    /// Jobs of its class dispatched earlier and not yet started.
    pub ahead: u64,
}
