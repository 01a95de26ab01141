//! The events of a job as they are appended, whoever appends them. What was missed is read from the log.

use std::sync::Arc;

use async_trait::async_trait;

use crate::id::JobId;
use crate::ports::{HistoryEntry, PortError};

/// The events of jobs as they are appended.
#[async_trait]
pub trait EventFeedPort: Send + Sync {
    /// Hears of a job's events from now on: whatever is appended after this has returned is heard of, and some that
    /// were appended before may be. So whoever subscribes first and reads the job then has no gap between the two.
    async fn subscribe(&self, job: JobId) -> Result<Box<dyn EventFeed>, PortError>;
}

/// The events of one job as they come. Outages of the log are waited out.
#[async_trait]
pub trait EventFeed: Send {
    /// The next thing there is to hear. A call that is given up loses nothing.
    async fn next(&mut self) -> Heard;
}

/// What a feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event, in the order of the log; one may come again.
    Event(Arc<HistoryEntry>),
    /// There may have been events that are not told here, or the log is no longer what it was: read it again.
    Missed,
}
