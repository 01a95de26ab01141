//! One commit: what must hold, what happened, and what it does to the work streams.

use crate::guard::{Guard, Lane, WorkChange};
use crate::id::{JobId, SubmissionId};
use crate::job::{Job, JobEvent};
use crate::log::envelope::Envelope;
use crate::log::regress::{LogEvent, LogRecord};
use crate::policy::{PolicyEvent, PolicyRecord};
use crate::problem::Problem;
use crate::submission::{Submission, SubmissionEvent};

/// One commit. All of it is written, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The aggregate before, and its new events. Its version guard is implied.
    pub change: Change,
    /// What follows for another aggregate: the held job that gets the slot which this one gives back. Its version is
    /// guarded by [`Guard::JobAt`].
    pub next: Option<Change>,
    /// What else must hold.
    pub guards: Vec<Guard>,
    /// How the work streams change.
    pub work: Vec<WorkChange>,
    /// Whether a full event log may refuse it.
    pub lane: Lane,
}

/// The new events of one aggregate.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Of a job.
    Job {
        /// Which one.
        id: JobId,
        /// The state on which the events were decided.
        before: Option<Job>,
        /// What happened.
        events: Vec<Envelope<JobEvent>>,
    },
    /// Of a submission.
    Submission {
        /// Which one.
        id: SubmissionId,
        /// The state on which the events were decided.
        before: Option<Submission>,
        /// What happened.
        events: Vec<Envelope<SubmissionEvent>>,
    },
    /// Of the policy.
    Policy {
        /// The state on which the events were decided.
        before: Option<PolicyRecord>,
        /// What happened.
        event: Envelope<PolicyEvent>,
    },
    /// Of the log itself.
    Log {
        /// The state on which the events were decided.
        before: Option<LogRecord>,
        /// What happened.
        event: Envelope<LogEvent>,
    },
}

impl Change {
    /// Returns the type of its first event.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Job { events, .. } => events.first().map_or("", |event| event.event.kind()),
            Self::Submission { events, .. } => events.first().map_or("", |event| event.event.kind()),
            Self::Policy { event, .. } => event.event.kind(),
            Self::Log { event, .. } => event.event.kind(),
        }
    }
}

/// Why a commit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Another commit changed the aggregate first: load and decide again.
    #[error("the aggregate has changed since it was read")]
    Conflict,
    /// The log has lost what this process has seen of it: load and decide again, once that is recorded.
    #[error("the event log has lost its newest part")]
    Regressed,
    /// A guard failed.
    #[error("a guard does not hold: {0:?}")]
    GuardFailed(Guard),
    /// The event log is at its memory limit and accepts no new work.
    #[error("the event log is at its memory limit")]
    Full,
    /// The commit is larger than one call may be.
    #[error("the commit is too large: {0} bytes")]
    TooLarge(usize),
    /// It is not known whether it was made: load and decide again, with the same ids and fence.
    #[error(transparent)]
    Unavailable(Problem),
    /// The commit was refused: a defect.
    #[error(transparent)]
    Defect(Problem),
}
