//! What can be asked of a job.

use crate::failure::{Failure, LossCause};
use crate::guard::Ticket;
use crate::id::{Consumer, Fence, RequestId, UserId};
use crate::job::state::{ArtifactTotals, JobSpec, TrackedRun, Tracking};
use crate::results::Results;

/// One thing that can be asked of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobCommand {
    /// Accept it.
    Enqueue(JobSpec),
    /// Give a held or delayed one its ticket.
    Dispatch,
    /// Run it, holding this ticket.
    Start(Start),
    /// Record the results of the run under this fence.
    Complete {
        /// The run.
        fence: Fence,
        /// Its results.
        results: Results,
        /// What it left beside them.
        artifacts: ArtifactTotals,
        /// The tracker's run, where it was made in time.
        tracked: Option<TrackedRun>,
    },
    /// Record that the run under this fence failed.
    Fail {
        /// The run.
        fence: Fence,
        /// Why.
        failure: Failure,
    },
    /// End the lease of the run under this fence; what follows is for the policy to say.
    LoseLease {
        /// The run.
        fence: Fence,
        /// Why.
        cause: LossCause,
        /// What was seen, in a sentence.
        error: String,
    },
    /// Ask for its end.
    RequestCancel {
        /// Who asks.
        by: UserId,
        /// How.
        force: CancelMode,
    },
    /// End it while it waits: what it waits for was removed.
    Withdraw {
        /// Why, in a sentence.
        reason: String,
    },
    /// Record that the run under this fence was ended because somebody asked for it.
    AcknowledgeCancel {
        /// The run.
        fence: Fence,
    },
    /// Run it again after its end.
    Replay {
        /// Who asks.
        by: UserId,
        /// Why.
        why: String,
        /// Which request this is.
        request: RequestId,
    },
    /// Record that the tracker has the run under this fence, complete and closed.
    Track {
        /// The run.
        fence: Fence,
        /// The tracker's run.
        run: TrackedRun,
    },
    /// Remove its records.
    Expire,
}

/// How a running job is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelMode {
    /// Its worker stops it and says so.
    Graceful,
    /// It counts as ended at once; its worker learns of it at its next heartbeat.
    Force,
}

/// A worker's request to run a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Drawn for this start alone.
    pub fence: Fence,
    /// The ticket it was claimed by.
    pub ticket: Ticket,
    /// The process that will run it.
    pub worker: Consumer,
    /// The UUIDs of the GPUs it will have to itself.
    pub gpus: Vec<String>,
    /// What will confine it.
    pub sandbox: String,
    /// Which ends of it are recorded in the tracker.
    pub tracking: Tracking,
}
