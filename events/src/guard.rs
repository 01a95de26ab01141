//! What a commit depends on, and what it does to the work streams.

use crate::id::{ClassName, Consumer, Fence, JobId, SubmissionId, UserId};
use crate::log::envelope::StreamId;
use crate::time::Timestamp;

/// Something a commit depends on beyond the version of its own aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The submission exists.
    SubmissionReady(SubmissionId),
    /// The stored policy offers this resource class.
    ClassOffered(ClassName),
    /// The job has had exactly this many events.
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
        /// The limit.
        limit: u64,
    },
    /// The user has at least this many slots in use.
    SlotsFull {
        /// Whose slots.
        user: UserId,
        /// The limit.
        limit: u64,
    },
    /// Fewer than this many of the user's jobs run.
    RunningBelow {
        /// Whose jobs.
        user: UserId,
        /// The limit.
        limit: u64,
    },
    /// Fewer than this many of the user's jobs are pending.
    PendingBelow {
        /// Whose jobs.
        user: UserId,
        /// The limit.
        limit: u64,
    },
    /// The user has no held job.
    NoneHeld(UserId),
    /// The user had fewer than this many jobs accepted since a time.
    AcceptedBelow {
        /// Whose jobs.
        user: UserId,
        /// The beginning of the window.
        since: Timestamp,
        /// The limit.
        limit: u64,
    },
    /// Fewer than this many of the user's jobs gave their place in the hour back since a time.
    RefundedBelow {
        /// Whose jobs.
        user: UserId,
        /// The beginning of the window.
        since: Timestamp,
        /// The limit.
        limit: u64,
    },
    /// The user uploaded fewer than this many submissions since a time.
    UploadsBelow {
        /// Whose submissions.
        user: UserId,
        /// The beginning of the window.
        since: Timestamp,
        /// The limit.
        limit: u64,
    },
    /// The user's submissions have at most this many bytes.
    StoredAtMost {
        /// Whose submissions.
        user: UserId,
        /// How many.
        bytes: u64,
    },
    /// The submission has no jobs.
    WithoutJobs(SubmissionId),
    /// No commit used this idempotency key.
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
    /// Records who runs a job on which ticket.
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
