//! The tracker as this process knows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use events::SubmissionId;
use events::job::Tracking;
use events::ports::{JobStatusPort, PortError, TrackingError, TrackingPort};
use tokio::sync::Notify;

use super::breaker::Breaker;

/// How runs are recorded in the tracker.
#[derive(Clone)]
pub struct TrackingConfig {
    /// The tracker.
    pub port: Arc<dyn TrackingPort>,
    /// Which ends of the runs started here are recorded.
    pub recorded: Tracking,
    /// How long the end of a job may wait for the tracker.
    pub budget: Duration,
    /// How often to delete orphaned runs.
    pub sweep_interval: Duration,
}

impl fmt::Debug for TrackingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { recorded, budget, .. } = self;
        f.debug_struct("TrackingConfig").field("recorded", recorded).field("budget", budget).finish_non_exhaustive()
    }
}

/// The tracker as this process knows it.
pub(crate) struct Tracker {
    pub(super) config: TrackingConfig,
    /// Where jobs and submissions are read.
    pub(super) status: Arc<dyn JobStatusPort>,
    pub(super) breaker: Breaker,
    /// Notified when the end of a run was committed.
    pub(super) ended: Notify,
}

/// Why an end is not in the tracker yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsettled {
    /// The tracker.
    #[error("{0}")]
    Tracker(#[from] TrackingError),
    /// The tracker did not answer this, and answers other requests.
    #[error("{0}")]
    Unanswered(String),
    /// Redis, or what it holds.
    #[error("{0}")]
    Log(String),
}

impl From<PortError> for Unsettled {
    fn from(error: PortError) -> Self {
        Self::Log(error.to_string())
    }
}

impl Tracker {
    pub(crate) fn new(config: TrackingConfig, status: Arc<dyn JobStatusPort>) -> Self {
        Self { config, status, breaker: Breaker::default(), ended: Notify::new() }
    }

    /// Tells that the end of a run was committed.
    pub(crate) fn note_end(&self) {
        self.ended.notify_one();
    }

    pub(super) fn port(&self) -> &dyn TrackingPort {
        &*self.config.port
    }

    /// The file that the jobs of a submission run. Empty if the submission is gone.
    pub(super) async fn entrypoint(&self, submission: SubmissionId) -> Result<String, PortError> {
        let submission = self.status.submission(submission).await?;
        Ok(submission.map(|submission| submission.manifest.entrypoint).unwrap_or_default())
    }
}
