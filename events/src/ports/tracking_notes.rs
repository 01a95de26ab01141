//! Why the tracker has not got what it is to get: told to those who look at a job.

use async_trait::async_trait;

use crate::id::JobId;
use crate::ports::PortError;

/// Why the tracker has not got what it is to get. It vanishes by itself some minutes after it was told last.
#[async_trait]
pub trait TrackingNotesPort: Send + Sync {
    /// Tells why an end of a job could not be recorded, or that nothing keeps it any more.
    async fn note(&self, of: NoteOf, why: Option<&str>) -> Result<(), PortError>;

    /// Why an end of this job is not recorded, as far as is known: what is wrong with it, else what is wrong with the
    /// tracker.
    async fn why_untracked(&self, job: JobId) -> Result<Option<String>, PortError>;
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteOf {
    /// The tracker itself, so every job that waits.
    Tracker,
    /// One job.
    Job(JobId),
}
