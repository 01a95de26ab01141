//! Why the tracker has not got what it is to get: told to those who look at a job.

use async_trait::async_trait;

use crate::id::JobId;
use crate::ports::PortError;

/// Why the tracker has not got what it is to get. It vanishes by itself some minutes after it was told last.
#[async_trait]
pub trait TrackingNotesPort: Send + Sync {
    /// Tells why an end of a job could not be recorded, or that nothing keeps it any more.
    async fn note(&self, of: NoteOf, why: Option<&str>) -> Result<(), PortError>;

    /// Why an end of this job is not recorded, as far as is known.
    async fn why_untracked(&self, job: JobId) -> Result<WhyUntracked, PortError>;
}

/// Why an end of a job is not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyUntracked {
    /// What is wrong with it, or else with the tracker.
    Wrong(String),
    /// Nothing is known to be wrong: some process records what waits.
    InLine,
    /// No process records anything.
    Nobody,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteOf {
    /// The tracker itself, so every job that waits.
    Tracker,
    /// One job.
    Job(JobId),
}
