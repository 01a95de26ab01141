//! How long runs take, by what was seen of late.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::ClassName;
use crate::ports::PortError;

/// How long runs take, by what was seen of late. It serves estimates alone, so it may be lost at any time.
#[async_trait]
pub trait DurationsPort: Send + Sync {
    /// Notes how long a run of this class took.
    async fn note(&self, class: &ClassName, took: Duration) -> Result<(), PortError>;

    /// How long the newest runs of a class took, newest first: at most 100 of the last days.
    async fn recent(&self, class: &ClassName) -> Result<Vec<Duration>, PortError>;
}
