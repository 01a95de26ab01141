//! One commit: what must hold, what happened, and what it does to the work streams.

use crate::id::{ClassName, Consumer, Fence, JobId, SubmissionId, UserId};
use crate::job::{Job, JobEvent};
use crate::log::envelope::{Envelope, StreamId};
use crate::log::regress::{LogEvent, LogRecord};
use crate::policy::{PolicyEvent, PolicyRecord};
use crate::submission::{Submission, SubmissionEvent};
use crate::time::Timestamp;

/// What a commit writes, all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The aggregate before, and its new events. Its version guard is implied.
    pub change: Change,
    /// What follows for another aggregate: the held job that gets the slot which this one gives back. Its version is
    /// guarded by [`Guard::JobAt`].
    pub next: Option<Change>,
    /// What else must hold.
    pub guards: Vec<Guard>,
    /// What happens to the work streams.
    pub work: Vec<WorkChange>,
    /// Whether a full Redis may refuse it.
    pub lane: Lane,
}

/// The new events of one aggregate.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Of a job.
    Job {
        /// Whose.
        id: JobId,
        /// What it was when this was decided.
        before: Option<Job>,
        /// What happened.
        events: Vec<Envelope<JobEvent>>,
    },
    /// Of a submission.
    Submission {
        /// Whose.
        id: SubmissionId,
        /// What it was when this was decided.
        before: Option<Submission>,
        /// What happened.
        events: Vec<Envelope<SubmissionEvent>>,
    },
    /// Of the policy.
    Policy {
        /// What it was when this was decided.
        before: Option<PolicyRecord>,
        /// What happened.
        event: Envelope<PolicyEvent>,
    },
    /// Of the log itself.
    Log {
        /// What it was when this was decided.
        before: Option<LogRecord>,
        /// What happened.
        event: Envelope<LogEvent>,
    },
}

impl Change {
    /// The type of its first event.
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

/// Something a commit depends on beyond the version of its own aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The submission is there to be run.
    SubmissionReady(SubmissionId),
    /// The stored policy offers this resource class.
    ClassOffered(ClassName),
    /// The job has had so many events.
    JobAt {
        /// Which job.
        job: JobId,
        /// How many.
        version: u64,
    },
    /// The user has fewer than this many slots in use.
    SlotsBelow {
        /// Whose slots.
        user: UserId,
        /// How many are too many.
        limit: u64,
    },
    /// The user has no fewer than this many slots in use.
    SlotsFull {
        /// Whose slots.
        user: UserId,
        /// How many there are.
        limit: u64,
    },
    /// Fewer than this many of the user's jobs run.
    RunningBelow {
        /// Whose jobs.
        user: UserId,
        /// How many are too many.
        limit: u64,
    },
    /// Fewer than this many of the user's jobs are pending.
    PendingBelow {
        /// Whose jobs.
        user: UserId,
        /// How many are too many.
        limit: u64,
    },
    /// None of the user's jobs is held.
    NoneHeld(UserId),
    /// The user had fewer than this many jobs accepted since a time.
    AcceptedBelow {
        /// Whose jobs.
        user: UserId,
        /// From when on they count.
        since: Timestamp,
        /// How many are too many.
        limit: u64,
    },
    /// The user was given back the place in the hour of fewer than this many jobs since a time.
    RefundedBelow {
        /// Whose jobs.
        user: UserId,
        /// From when on they count.
        since: Timestamp,
        /// How many are too many.
        limit: u64,
    },
    /// The user uploaded fewer than this many submissions since a time.
    UploadsBelow {
        /// Whose submissions.
        user: UserId,
        /// From when on they count.
        since: Timestamp,
        /// How many are too many.
        limit: u64,
    },
    /// The user's submissions have at most so many bytes.
    StoredAtMost {
        /// Whose submissions.
        user: UserId,
        /// How many.
        bytes: u64,
    },
    /// The submission has no jobs.
    WithoutJobs(SubmissionId),
    /// Nothing was committed under this idempotency key.
    IdempotencyKeyUnused {
        /// Whose key.
        user: UserId,
        /// The SHA-256 of the key, in hexadecimal.
        key_sha256: String,
    },
    /// The job's lease still shows this beat.
    LeaseBeat {
        /// Whose lease.
        job: JobId,
        /// The beat that was seen.
        beat: u64,
    },
}

/// A change of a work stream or of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkChange {
    /// Adds a ticket to the work stream of a class.
    AddTicket {
        /// Which stream.
        class: ClassName,
        /// For which job.
        job: JobId,
    },
    /// Notes who runs a job on which ticket.
    TakeLease {
        /// Which job.
        job: JobId,
        /// Under which authority.
        fence: Fence,
        /// On which ticket, which stays in the pending list.
        ticket: Ticket,
        /// Who.
        worker: Consumer,
        /// How long it may be silent, in milliseconds.
        lease_ms: u64,
    },
    /// Drops a job's lease and acknowledges and deletes the ticket it was held on.
    ReleaseLease {
        /// Which job.
        job: JobId,
    },
}

/// One entry of a work stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Whose stream.
    pub class: ClassName,
    /// Which entry.
    pub id: StreamId,
}

/// Whether a full Redis may refuse a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Takes new work in: refused when Redis is at `maxmemory`.
    Admission,
    /// Moves accepted work on or removes it: goes through even then.
    Progress,
}

/// Why a commit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else changed the aggregate first: load and decide again.
    #[error("the aggregate has changed since it was read")]
    Conflict,
    /// The log has lost what this process has seen of it: load and decide again, once that is recorded.
    #[error("Redis has lost the newest part of the event log")]
    Regressed,
    /// A guard failed: what was to be relied on does not hold.
    #[error("a guard does not hold: {0:?}")]
    GuardFailed(Guard),
    /// Redis is at its memory limit and takes nothing new in.
    #[error("Redis is at its memory limit")]
    Full,
    /// The commit is larger than one call may be.
    #[error("the commit is too large: {0} bytes")]
    TooLarge(usize),
    /// It is not known whether it was made: load and decide again, with the same ids and fence.
    #[error("{0}")]
    Unavailable(String),
    /// Redis refused the script: a defect.
    #[error("Redis refused the commit: {0}")]
    Defect(String),
}
