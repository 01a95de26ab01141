//! Where a job stands: the fold of its events.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::{DeadLetterKind, Failure, LossCause};
use crate::id::{ClassName, Consumer, Fence, JobId, RequestId, SubmissionId, UserId};
use crate::idempotency::Idempotency;
use crate::time::Timestamp;
use crate::trace::TraceParent;

/// A job as the fold of its own events. The status hash in Redis is exactly this.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// How many events it has had.
    pub version: u64,
    /// What was asked for; never changes.
    pub spec: JobSpec,
    /// The trace that its request began.
    pub trace: Option<TraceParent>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its last event happened.
    pub updated_at: Timestamp,
    /// The fence of every start, oldest first. The last one is current while the job runs.
    pub fences: Vec<Fence>,
    /// What the platform has cost it since it was accepted or replayed.
    pub losses: Losses,
    /// Why its last run was lost, since it was accepted or replayed, if one was.
    pub last_loss: Option<LossCause>,
    /// When its place in its user's hour was given back, if it was.
    pub refunded_at: Option<Timestamp>,
    /// Who asked for its end, if anybody did.
    pub cancel_requested_by: Option<UserId>,
    /// The last replay of it, so that a repeated request is known.
    pub replayed_by_request: Option<RequestId>,
    /// The tracker's run of its last start, if there is one.
    pub tracked: Option<TrackedRun>,
    /// The ends of it that the tracker has not got yet, oldest first.
    pub untracked: Vec<Untracked>,
    /// Its last start, which is the current one while it runs.
    pub run: Option<Run>,
    /// Where it stands.
    pub state: JobState,
}

/// What was asked for when a job was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The code to run.
    pub submission: SubmissionId,
    /// Whose job it is.
    pub user: UserId,
    /// How much it may use.
    pub class: ClassName,
    /// The client's `config` object as JSON text, stored and given back as it came.
    pub config: String,
    /// By what a repeated request is known, where its client gave a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// It waits for a worker, for a slot of its user's, or for its time.
    Pending(Waiting),
    /// A worker runs it under the last of its fences; [`Job::run`] tells which.
    Running,
    /// Terminal: it ran and its results are recorded.
    Completed(Completed),
    /// Terminal: it ended through a fault of its own.
    Failed(Ended<Failure>),
    /// Terminal: somebody asked for its end, or what it waited for was removed: then there is a reason.
    Cancelled(Ended<Option<String>>),
    /// Terminal: the platform gave it up.
    DeadLettered(Ended<DeadLetter>),
}

/// What a pending job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A slot of its user's: it has no ticket yet.
    Held,
    /// A worker: it has had a ticket since this time.
    Dispatched(Timestamp),
    /// The time of its next try.
    Delayed(Timestamp),
}

/// One start of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub started_at: Timestamp,
    /// The process that runs it.
    pub worker: Consumer,
    /// The UUIDs of the GPUs it has to itself.
    pub gpus: Vec<String>,
    /// What confines it, as the worker applied it.
    pub sandbox: String,
    /// Which ends of it are recorded in the tracker; off once it has ended.
    pub tracking: Tracking,
}

/// Which ends of a run are recorded in the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracking {
    /// None.
    #[default]
    Off,
    /// Only that it completed.
    Completed,
    /// That it failed or was cancelled too.
    All,
}

/// An accepted end of a run that the tracker has not got yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untracked {
    /// The run.
    pub fence: Fence,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// The end of a run that left results.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// When it ended.
    pub at: Timestamp,
    /// What it left beside its results.
    pub artifacts: ArtifactTotals,
    /// What of its metrics is ranked ([`crate::ranking::ranked`]).
    pub ranked: BTreeMap<String, f64>,
}

/// What a run left beside its results.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArtifactTotals {
    /// How many files.
    pub count: u64,
    /// Their size in all.
    pub bytes: u64,
    /// The SHA-256 of their manifest; empty where there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
}

/// An end and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended<Why> {
    /// When it ended.
    pub at: Timestamp,
    /// Why.
    pub why: Why,
}

/// Why the platform gave a job up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What kept going wrong.
    pub kind: DeadLetterKind,
    /// The last time it went wrong, in a sentence.
    pub error: String,
}

/// How often the platform has failed a job, by cause. A drain counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Workers that died or fell silent while running it.
    pub worker_lost: u32,
    /// Other failures of the platform.
    pub infrastructure: u32,
}

/// A run as the tracker knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedRun {
    /// The tracker's id of the run.
    pub run_id: String,
    /// The tracker's id of the experiment that holds it.
    pub experiment_id: String,
}

/// The status that clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted and waiting.
    Pending,
    /// A worker runs it.
    Running,
    /// Its results are recorded.
    Completed,
    /// It or the platform failed for good.
    Failed,
    /// Somebody asked for its end.
    Cancelled,
}

impl Tracking {
    /// Whether nothing is recorded.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// The choice as events and read models spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Completed => "completed",
            Self::All => "all",
        }
    }
}

impl JobStatus {
    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The status as clients know it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Job {
    /// The status that clients see.
    #[must_use]
    pub const fn status(&self) -> JobStatus {
        match self.state {
            JobState::Pending(_) => JobStatus::Pending,
            JobState::Running => JobStatus::Running,
            JobState::Completed(_) => JobStatus::Completed,
            JobState::Failed(_) | JobState::DeadLettered(_) => JobStatus::Failed,
            JobState::Cancelled(_) => JobStatus::Cancelled,
        }
    }

    /// Whether it has ended. Only a replay takes it up again.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        self.ended_at().is_some()
    }

    /// What of it is ranked, by metric, if it completed.
    #[must_use]
    pub const fn ranked(&self) -> Option<&BTreeMap<String, f64>> {
        match &self.state {
            JobState::Completed(Completed { ranked, .. }) => Some(ranked),
            JobState::Pending(_)
            | JobState::Running
            | JobState::Failed(_)
            | JobState::Cancelled(_)
            | JobState::DeadLettered(_) => None,
        }
    }

    /// When it ended, if it has.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match &self.state {
            JobState::Pending(_) | JobState::Running => None,
            JobState::Completed(Completed { at, .. })
            | JobState::Failed(Ended { at, .. })
            | JobState::Cancelled(Ended { at, .. })
            | JobState::DeadLettered(Ended { at, .. }) => Some(*at),
        }
    }

    /// Whether it has one of its user's slots: it has a ticket, or a worker runs it.
    #[must_use]
    pub const fn holds_slot(&self) -> bool {
        matches!(self.state, JobState::Pending(Waiting::Dispatched(_)) | JobState::Running)
    }

    /// The fence that the running job's worker holds; none unless it runs.
    #[must_use]
    pub fn current_fence(&self) -> Option<&Fence> {
        matches!(self.state, JobState::Running).then(|| self.fences.last()).flatten()
    }

    /// How many times it has been started. Each start has a log of its own.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        u32::try_from(self.fences.len()).unwrap_or(u32::MAX)
    }

    /// The sentence that tells why it ended badly, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match &self.state {
            JobState::Failed(ended) => Some(&ended.why.error),
            JobState::DeadLettered(ended) => Some(&ended.why.error),
            JobState::Cancelled(ended) => ended.why.as_deref(),
            JobState::Pending(_) | JobState::Running | JobState::Completed(_) => None,
        }
    }
}
