//! How far a run is and how its numbers go, kept where every host reads it: live state, lost without harm.

use async_trait::async_trait;

use crate::id::{Fence, JobId};
use crate::ports::{PortError, Shown};
use crate::time::Timestamp;

/// Where a worker reports the progress of a run, and readers see it.
#[async_trait]
pub trait ProgressPort: Send + Sync {
    /// Reports how a run stands. The first report of a run replaces what earlier runs of the job reported.
    async fn report(&self, job: JobId, fence: &Fence, report: &ProgressReport) -> Result<Shown, PortError>;

    /// The last reported progress of a run; `None` if unknown or expired.
    async fn progress(&self, job: JobId, fence: &Fence) -> Result<Option<Stated>, PortError>;

    /// The stage that a run was in the last time; `None` if that is not known, or no longer.
    async fn stage(&self, job: JobId, fence: &Fence) -> Result<Option<StageSeen>, PortError>;

    /// The curves of a run in the order of their names; empty if unknown or expired.
    async fn curves(&self, job: JobId, fence: &Fence) -> Result<Vec<Curve>, PortError>;
}

/// How a run stands. A field that is `None` stays as it was reported before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProgressReport {
    /// How far it is.
    pub progress: Option<Progress>,
    /// All its curves.
    pub curves: Option<Vec<Curve>>,
    /// What it does.
    pub stage: Option<Stage>,
}

/// What a run does, and how much of it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it does.
    pub name: StageName,
    /// How much of it is done, in bytes, if that is known.
    pub bytes_done: Option<u64>,
    /// How much there is to do, in bytes, if that is known.
    pub bytes_total: Option<u64>,
    /// Why it goes no further, as a sentence; `None` if it does.
    pub reason: Option<String>,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        Self { name, bytes_done: None, bytes_total: None, reason: None }
    }
}

/// The stages of a run, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageName {
    /// Its files are fetched and unpacked, and its packages installed.
    Preparing,
    /// Its program runs.
    Running,
    /// What its program left is copied to storage.
    Storing,
    /// Its end is recorded, in MLflow too.
    Recording,
}

impl StageName {
    /// The name, as it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Storing => "storing",
            Self::Recording => "recording",
        }
    }

    /// The stage of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Preparing, Self::Running, Self::Storing, Self::Recording]
            .into_iter()
            .find(|stage| stage.as_str() == name)
    }
}

/// A stage, and when the run was first said to be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSeen {
    /// What it does.
    pub stage: Stage,
    /// By Redis's clock.
    pub since: Timestamp,
}

/// How far a program says it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// In the program's own words; may be empty.
    pub message: String,
}

/// What a program said, and when that was first told.
#[derive(Debug, Clone, PartialEq)]
pub struct Stated {
    /// What it said.
    pub progress: Progress,
    /// By Redis's clock.
    pub at: Timestamp,
}

/// How a number went while a program ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Of the number.
    pub name: String,
    /// The step, or the seconds since the program began, and the number then; in ascending order of the first.
    pub points: Vec<(f64, f64)>,
}
