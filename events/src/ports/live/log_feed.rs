//! What a run prints, as it is shown. What was missed is read from the log.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::{Fence, JobId};
use crate::ports::PortError;

/// What runs print, as it is shown.
#[async_trait]
pub trait LogFeedPort: Send + Sync {
    /// Hears of a run's chunks from now on: whatever is shown after this has returned is heard of, and some that was
    /// shown before may be. So whoever subscribes first and reads the log then has no gap between the two.
    async fn subscribe(&self, job: JobId, fence: &Fence) -> Result<Box<dyn LogFeed>, PortError>;
}

/// The chunks of one run as they come. Outages are waited out.
#[async_trait]
pub trait LogFeed: Send {
    /// The next thing there is to hear. A call that is given up loses nothing.
    async fn next(&mut self) -> Printed;
}

/// What a feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Printed {
    /// A chunk. Not all that was printed is in one: a gap before it is to be read from the log.
    Chunk(Arc<LogChunk>),
    /// There may have been chunks that are not told here: read the log.
    Missed,
}

/// Bytes of a run's log, and where they stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Of the first byte.
    pub offset: u64,
    /// What was printed.
    pub bytes: Bytes,
}

impl LogChunk {
    /// Where the next byte stands.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}
