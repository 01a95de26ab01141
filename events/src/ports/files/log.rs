//! What jobs print.

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{Fence, JobId};
use crate::ports::PortError;

/// What jobs print: one append-only text a run.
#[async_trait]
pub trait LogPort: Send + Sync {
    /// Begins the log of a run.
    async fn create(&self, job: JobId, fence: &Fence) -> Result<Box<dyn LogWriter>, PortError>;

    /// How many bytes a run has printed so far; none before its log was begun.
    async fn len(&self, job: JobId, fence: &Fence) -> Result<Option<u64>, PortError>;

    /// At most `max` bytes from `offset`; fewer at the end, none past it or where there is no log.
    async fn read(&self, job: JobId, fence: &Fence, offset: u64, max: usize) -> Result<Bytes, PortError>;

    /// Removes what all runs of a job printed; a job without any is no error.
    async fn delete(&self, job: JobId) -> Result<(), PortError>;

    /// Ends the log of a run whose worker was lost: where a part of it may be missing, its end says so.
    async fn cut_off(&self, job: JobId, fence: &Fence) -> Result<(), PortError> {
        let _ = (job, fence);
        Ok(())
    }
}

/// The writing end of a run's log.
#[async_trait]
pub trait LogWriter: Send {
    /// Adds bytes as they came. Of those that are refused a part may be there.
    async fn append(&mut self, chunk: &[u8]) -> Result<(), PortError>;

    /// How many bytes there are, after an append that went well: where those of the next will stand.
    fn position(&self) -> u64;

    /// Has all bytes where every reader on every host finds them. What an error left is sent by another call.
    async fn close(&mut self) -> Result<(), PortError> {
        Ok(())
    }
}
