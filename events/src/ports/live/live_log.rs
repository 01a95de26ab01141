//! The newest part of what a run prints, kept where every host reads it: for those who look on, and lost without harm.

use async_trait::async_trait;

use crate::id::{Fence, JobId};
use crate::ports::PortError;

/// The most bytes that one chunk may have.
pub const MAX_CHUNK_BYTES: usize = 16 << 10;

/// Where a worker shows what a run prints.
#[async_trait]
pub trait LiveLogPort: Send + Sync {
    /// Shows bytes of a run's log, at most [`MAX_CHUNK_BYTES`], that stand in it from `offset` on. They are in the log
    /// by then: whoever misses a chunk finds it there.
    ///
    /// A chunk that ends no later than one before it changes nothing.
    async fn append(&self, job: JobId, fence: &Fence, offset: u64, bytes: &[u8]) -> Result<Shown, PortError>;
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It is there for whoever looks on.
    Yes,
    /// The fence is not the one that the job runs under: nothing of this run counts any more.
    Refused,
}
