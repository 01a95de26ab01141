//! Hints that it is worth looking at a job at once. One may be lost: whoever is nudged looks by itself, later.

use async_trait::async_trait;

use crate::id::JobId;
use crate::ports::PortError;

/// Hints that it is worth looking at a job at once.
#[async_trait]
pub trait NudgePort: Send + Sync {
    /// Nudges whoever runs a job.
    async fn nudge(&self, job: JobId) -> Result<(), PortError>;

    /// Hears of nudges from now on, on a connection of its own.
    async fn nudges(&self) -> Result<Box<dyn Nudges>, PortError>;
}

/// Nudges as they come.
#[async_trait]
pub trait Nudges: Send {
    /// The next job that somebody nudged about; none once the connection is gone.
    async fn next(&mut self) -> Option<JobId>;
}
