//! What can happen to a job.

use serde::{Deserialize, Serialize};

use crate::failure::{DeadLetterKind, Failure, LossCause};
use crate::id::{Consumer, Fence, RequestId, UserId};
use crate::job::state::{ArtifactTotals, JobSpec, TrackedRun, Tracking};
use crate::results::Results;
use crate::time::Timestamp;

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum JobEvent {
    /// It was accepted; with a free slot its ticket was added at once.
    #[serde(rename = "job.enqueued")]
    Enqueued {
        /// What was asked for.
        #[serde(flatten)]
        spec: JobSpec,
        /// Whether its ticket was added at once.
        dispatched: bool,
    },
    /// A held or delayed job got its slot and its ticket.
    #[serde(rename = "job.dispatched")]
    Dispatched {},
    /// Its time has come, and its user has no free slot.
    #[serde(rename = "job.held")]
    Held {},
    /// A worker began to run it.
    #[serde(rename = "job.started")]
    Started {
        /// The authority of this run.
        fence: Fence,
        /// The process that runs it.
        worker: Consumer,
        /// The UUIDs of the GPUs it has to itself.
        gpus: Vec<String>,
        /// What confines it.
        sandbox: String,
        /// Which ends of it are recorded in the tracker.
        #[serde(default, skip_serializing_if = "Tracking::is_off")]
        tracking: Tracking,
    },
    /// It ran and left results.
    #[serde(rename = "job.completed")]
    Completed {
        /// The run that completed.
        fence: Fence,
        /// Its `metrics.json`.
        #[serde(flatten)]
        results: Results,
        /// What it left beside that.
        artifacts: ArtifactTotals,
        /// The tracker's run, where it was made in time; it is closed afterwards.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tracked: Option<TrackedRun>,
    },
    /// It ended through a fault of its own.
    #[serde(rename = "job.failed")]
    Failed {
        /// The run that failed.
        fence: Fence,
        /// Why.
        #[serde(flatten)]
        failure: Failure,
    },
    /// Its worker no longer holds it.
    #[serde(rename = "job.lease_lost")]
    LeaseLost {
        /// The run that was lost.
        fence: Fence,
        /// Why.
        cause: LossCause,
        /// What was seen, in a sentence.
        error: String,
    },
    /// It will be tried again.
    #[serde(rename = "job.retry_scheduled")]
    RetryScheduled {
        /// When.
        at: Timestamp,
        /// Which start that will be.
        attempt: u32,
    },
    /// The platform gave it up.
    #[serde(rename = "job.dead_lettered")]
    DeadLettered {
        /// What kept going wrong.
        kind: DeadLetterKind,
        /// The last time it went wrong, in a sentence.
        error: String,
        /// Whether its place in its user's hour was given back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refunded: bool,
    },
    /// An admin had it run again after its end.
    #[serde(rename = "job.replayed")]
    Replayed {
        /// Who.
        by: UserId,
        /// Why.
        why: String,
        /// Which request.
        request: RequestId,
        /// Whether its ticket was added at once.
        dispatched: bool,
    },
    /// Somebody asked for its end.
    #[serde(rename = "job.cancel_requested")]
    CancelRequested {
        /// Who.
        by: UserId,
    },
    /// It ended because somebody asked for it, or because what it waited for was removed.
    #[serde(rename = "job.cancelled")]
    Cancelled {
        /// Whether its place in its user's hour was given back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        refunded: bool,
        /// Why, in a sentence, if nobody asked for the end of this very job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The tracker has a run of it, complete and closed.
    #[serde(rename = "job.tracked")]
    Tracked {
        /// Which run; its last one where none is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<Fence>,
        /// The tracker's run.
        #[serde(flatten)]
        run: TrackedRun,
    },
    /// Its records were removed.
    #[serde(rename = "job.expired")]
    Expired {},
}

impl JobEvent {
    /// The name under which it is stored.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Enqueued { .. } => "job.enqueued",
            Self::Dispatched {} => "job.dispatched",
            Self::Held {} => "job.held",
            Self::Started { .. } => "job.started",
            Self::Completed { .. } => "job.completed",
            Self::Failed { .. } => "job.failed",
            Self::LeaseLost { .. } => "job.lease_lost",
            Self::RetryScheduled { .. } => "job.retry_scheduled",
            Self::DeadLettered { .. } => "job.dead_lettered",
            Self::Replayed { .. } => "job.replayed",
            Self::CancelRequested { .. } => "job.cancel_requested",
            Self::Cancelled { .. } => "job.cancelled",
            Self::Tracked { .. } => "job.tracked",
            Self::Expired {} => "job.expired",
        }
    }
}
