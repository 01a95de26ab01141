//! The tracker: where people look at runs and compare them.

use async_trait::async_trait;

use crate::id::{Consumer, Fence, JobId, SubmissionId, UserId};
use crate::job::{ArtifactTotals, TrackedRun};
use crate::results::Results;
use crate::time::Timestamp;

/// The tracker. All of it may be asked again after any answer, or none: what is there already is completed, not
/// doubled.
///
/// A run is open from [`Self::record`] to [`Self::close`]. It is closed only once the end of its job was accepted, so
/// what is open belongs to a run that goes on, to one that waits to be recorded, or to nobody.
#[async_trait]
pub trait TrackingPort: Send + Sync {
    /// Has a run with all of this but its files, and no other open one of the same fence and outcome. One that is
    /// closed already is taken as it is.
    async fn record(&self, record: &RunRecord) -> Result<TrackedRun, TrackingError>;

    /// Has a run hold what is kept of the files that its job left, and its log.
    async fn upload(&self, run: &TrackedRun, record: &RunRecord) -> Result<(), TrackingError>;

    /// Closes a run; one that is closed in this way already stays as it is.
    async fn close(&self, run: &TrackedRun, end: &RunEnd) -> Result<(), TrackingError>;

    /// The open runs of a job, or of this board: at most some hundreds, the oldest first.
    async fn open_runs(&self, job: Option<JobId>) -> Result<Vec<OpenRun>, TrackingError>;

    /// Deletes a run if it is open. Whether it did: not if it is closed or gone.
    async fn delete_open(&self, run_id: &str) -> Result<bool, TrackingError>;

    /// Deletes a run, open or closed; one that is gone is no error.
    async fn delete(&self, run_id: &str) -> Result<(), TrackingError>;

    /// Whether the tracker takes what it is asked, without anything being recorded.
    async fn check(&self) -> Result<(), TrackingError>;
}

/// What a tracker is told of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// The job.
    pub job: JobId,
    /// Which of its runs.
    pub fence: Fence,
    /// Which of its starts that was, from 1.
    pub attempt: u32,
    /// The code that ran.
    pub submission: SubmissionId,
    /// Whose job it is.
    pub user: UserId,
    /// The file that was run.
    pub entrypoint: String,
    /// When the run began; also the time of all its metrics, for nothing else of it stays the same at every try.
    pub started_at: Timestamp,
    /// The process that ran it.
    pub worker: Consumer,
    /// The UUIDs of the GPUs it had to itself.
    pub gpus: Vec<String>,
    /// What confined it.
    pub sandbox: String,
    /// How it ended, or will have if its end is accepted. Runs of one fence that tell of different ends are not mixed:
    /// one of them is not the job's.
    pub outcome: RunStatus,
    /// What the job reported; nothing of a run that failed.
    pub results: Results,
    /// What is kept of what it left, where that is known.
    pub artifacts: Option<ArtifactTotals>,
    /// The tracker's run, as far as the job knows of one.
    pub known: Option<TrackedRun>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// How.
    pub status: RunStatus,
    /// When.
    pub at: Timestamp,
    /// What went wrong, for programs: the kind of the failure or of the dead letter.
    pub kind: Option<&'static str>,
    /// What went wrong, in a sentence for people.
    pub error: Option<String>,
}

/// How a run ended, as trackers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// It completed.
    Finished,
    /// It or the platform failed.
    Failed,
    /// Somebody asked for its end.
    Killed,
}

/// A run that was not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// The tracker's id of it.
    pub run_id: String,
    /// The job.
    pub job: JobId,
    /// Which of its runs.
    pub fence: Fence,
}

/// Why a tracker did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrackingError {
    /// It is away, slow or out of order: nothing can be recorded at the moment.
    #[error("{0}")]
    Away(String),
    /// It refuses this run, or does not keep what it was given: others may fare better.
    #[error("{0}")]
    Refused(String),
    /// The files of the run can't be read.
    #[error("{0}")]
    Files(String),
}
