//! What a user has in use of what the policy allows, and what may still come in. Pure.

use std::time::Duration;

use crate::guard::Guard;
use crate::id::UserId;
use crate::policy::{ConcurrencyPolicy, Limits};
use crate::time::Timestamp;

/// The length of the sliding window in which jobs and uploads are counted.
pub const WINDOW: Duration = Duration::from_hours(1);

/// How long what happened in a window is kept: a clock that is set ahead by up to a day and back again forgets nothing.
pub const WINDOW_KEPT: Duration = Duration::from_hours(25);

/// What a user has in use, as it was read for a decision. What is decided on it is guarded in the commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Redis's time when it was read.
    pub at: Timestamp,
    /// Jobs and uploads of the last hour.
    pub hour: HourUsage,
    /// Jobs that have a slot: dispatched or running.
    pub active: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs in status pending: dispatched, held or delayed.
    pub pending: u64,
    /// The size of all submissions, in bytes.
    pub stored_bytes: u64,
}

impl Usage {
    /// The usage of a user if it can't be read. Nothing is given back to that user.
    #[must_use]
    pub(crate) fn unknown() -> Self {
        Self { hour: HourUsage { refunds: u64::MAX, ..HourUsage::default() }, ..Self::default() }
    }
}

/// What a user did in the last hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HourUsage {
    /// Jobs accepted and not given back.
    pub jobs: u64,
    /// When the oldest of them leave the hour, so that one more fits; `None` if one more fits now.
    pub job_fits_at: Option<Timestamp>,
    /// Jobs whose place in the hour was given back.
    pub refunds: u64,
    /// Submissions uploaded.
    pub uploads: u64,
    /// When the oldest of them leave the hour, so that one more fits; `None` if one more fits now.
    pub upload_fits_at: Option<Timestamp>,
}

/// A limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// The user is at the hourly limit of accepted jobs.
    #[error("hourly job limit reached: {limit} (MAX_SUBMISSIONS_PER_HOUR)")]
    JobsPerHour {
        /// The limit.
        limit: u64,
        /// When one more is accepted.
        resets_at: Timestamp,
        /// When it was asked for.
        asked_at: Timestamp,
    },
    /// The user is at the limit of running jobs.
    #[error(
        "limit of running jobs reached: {limit} (MAX_CONCURRENT_RUNNING, CONCURRENCY_POLICY=reject). Try again when one \
         of your jobs has ended"
    )]
    Running {
        /// The limit.
        limit: u64,
    },
    /// The user is at the limit of pending jobs.
    #[error(
        "limit of pending jobs reached: {limit} (MAX_QUEUED_PER_USER). Try again when one of your jobs has started or \
         ended"
    )]
    Queued {
        /// The limit.
        limit: u64,
    },
    /// The user is at the hourly limit of uploads.
    #[error("hourly upload limit reached: {limit} (MAX_UPLOADS_PER_HOUR)")]
    UploadsPerHour {
        /// The limit.
        limit: u64,
        /// When one more is accepted.
        resets_at: Timestamp,
        /// When it was asked for.
        asked_at: Timestamp,
    },
    /// The user is at the limit of uploads in flight.
    #[error(
        "limit of uploads in flight reached: {limit} (MAX_UPLOADS_IN_FLIGHT). Try again when one of yours has ended"
    )]
    UploadsInFlight {
        /// The limit.
        limit: u64,
    },
    /// The user is at the limit of stored bytes.
    #[error(
        "storage quota exceeded: your submissions have {stored} of {limit} bytes, too many for this one \
         (MAX_STORED_BYTES_PER_USER). Unused submissions expire; an administrator can raise the quota"
    )]
    StoredBytes {
        /// The limit.
        limit: u64,
        /// What is stored.
        stored: u64,
    },
    /// The user's submissions and their other uploads in flight leave too little of the limit of stored bytes.
    #[error(
        "storage quota exceeded: your submissions have {stored} of {limit} bytes and your other uploads in flight have \
         {in_flight}, too many for this one (MAX_STORED_BYTES_PER_USER). Try again when those uploads have ended"
    )]
    BytesInFlight {
        /// The limit.
        limit: u64,
        /// What is stored.
        stored: u64,
        /// What is reserved for the other uploads.
        in_flight: u64,
    },
}

/// How long to wait before asking again where nothing tells when there will be room: jobs end when they end.
const ASK_AGAIN: Duration = Duration::from_secs(10);

impl LimitReached {
    /// The word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::JobsPerHour { .. } => "jobs_per_hour",
            Self::Running { .. } => "running",
            Self::Queued { .. } => "queued",
            Self::UploadsPerHour { .. } => "uploads_per_hour",
            Self::UploadsInFlight { .. } => "uploads_in_flight",
            Self::StoredBytes { .. } | Self::BytesInFlight { .. } => "stored_bytes",
        }
    }

    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        match self {
            Self::JobsPerHour { limit, .. }
            | Self::Running { limit }
            | Self::Queued { limit }
            | Self::UploadsPerHour { limit, .. }
            | Self::UploadsInFlight { limit }
            | Self::StoredBytes { limit, .. }
            | Self::BytesInFlight { limit, .. } => *limit,
        }
    }

    /// What of the limit is left: too little for what was asked.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        match self {
            Self::StoredBytes { limit, stored } => limit.saturating_sub(*stored),
            Self::BytesInFlight { limit, stored, in_flight } => limit.saturating_sub(stored.saturating_add(*in_flight)),
            Self::JobsPerHour { .. }
            | Self::Running { .. }
            | Self::Queued { .. }
            | Self::UploadsPerHour { .. }
            | Self::UploadsInFlight { .. } => 0,
        }
    }

    /// When there will be room again, where that is known.
    #[must_use]
    pub const fn resets_at(&self) -> Option<Timestamp> {
        match self {
            Self::JobsPerHour { resets_at, .. } | Self::UploadsPerHour { resets_at, .. } => Some(*resets_at),
            Self::Running { .. }
            | Self::Queued { .. }
            | Self::UploadsInFlight { .. }
            | Self::StoredBytes { .. }
            | Self::BytesInFlight { .. } => None,
        }
    }

    /// How long to wait before asking again: exactly until there is room, rounded up to the second, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::JobsPerHour { resets_at, asked_at, .. } | Self::UploadsPerHour { resets_at, asked_at, .. } => {
                let micros = (*resets_at - *asked_at).num_microseconds().unwrap_or(i64::MAX).max(0);
                Duration::from_secs(micros.unsigned_abs().div_ceil(1_000_000))
            }
            Self::Running { .. }
            | Self::Queued { .. }
            | Self::UploadsInFlight { .. }
            | Self::StoredBytes { .. }
            | Self::BytesInFlight { .. } => ASK_AGAIN,
        }
    }
}

/// From when on things count in the window that ends now.
#[must_use]
pub fn window_start(now: Timestamp) -> Timestamp {
    now - WINDOW
}

/// Returns the guards of accepting one more job of a user, in the order in which a client is told of them.
///
/// # Errors
/// Which limit was reached already.
pub(crate) fn admit_job(
    user: &UserId,
    usage: &Usage,
    limits: &Limits,
    now: Timestamp,
) -> Result<Vec<Guard>, LimitReached> {
    let mut guards = Vec::with_capacity(3);
    let limit = limits.jobs_per_hour;
    if usage.hour.jobs >= limit {
        let resets_at = usage.hour.job_fits_at.unwrap_or(now + WINDOW);
        return Err(LimitReached::JobsPerHour { limit, resets_at, asked_at: now });
    }
    guards.push(Guard::AcceptedBelow { user: user.clone(), since: window_start(now), limit });
    if limits.concurrency == ConcurrencyPolicy::Reject {
        let limit = limits.running;
        if usage.running >= limit {
            return Err(LimitReached::Running { limit });
        }
        guards.push(Guard::RunningBelow { user: user.clone(), limit });
    }
    let limit = limits.queued;
    if usage.pending >= limit {
        return Err(LimitReached::Queued { limit });
    }
    guards.push(Guard::PendingBelow { user: user.clone(), limit });
    Ok(guards)
}

/// Returns the guards of accepting one more upload of this many bytes.
///
/// # Errors
/// Which limit was reached already.
pub fn admit_upload(
    user: &UserId,
    usage: &Usage,
    limits: &Limits,
    bytes: u64,
    now: Timestamp,
) -> Result<Vec<Guard>, LimitReached> {
    let limit = limits.uploads_per_hour;
    if usage.hour.uploads >= limit {
        let resets_at = usage.hour.upload_fits_at.unwrap_or(now + WINDOW);
        return Err(LimitReached::UploadsPerHour { limit, resets_at, asked_at: now });
    }
    let per_hour = Guard::UploadsBelow { user: user.clone(), since: window_start(now), limit };
    let limit = limits.stored_bytes;
    let Some(room) = limit.checked_sub(bytes).filter(|room| usage.stored_bytes <= *room) else {
        return Err(LimitReached::StoredBytes { limit, stored: usage.stored_bytes });
    };
    Ok(vec![per_hour, Guard::StoredAtMost { user: user.clone(), bytes: room }])
}

/// Returns the limit that an upload exceeds whose bytes were refused.
#[must_use]
pub const fn too_many_bytes(limit: u64, stored: u64, in_flight: u64) -> LimitReached {
    match in_flight {
        0 => LimitReached::StoredBytes { limit, stored },
        _ => LimitReached::BytesInFlight { limit, stored, in_flight },
    }
}

/// Whether a job may have a slot now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// One is free.
    Free,
    /// All are in use.
    Taken,
}

impl Slot {
    /// Returns whether the user has a free slot, and the guard that this still holds.
    pub(crate) fn of(user: &UserId, usage: &Usage, limits: &Limits) -> (Self, Guard) {
        let (user, limit) = (user.clone(), limits.running);
        if usage.active < limit {
            (Self::Free, Guard::SlotsBelow { user, limit })
        } else {
            (Self::Taken, Guard::SlotsFull { user, limit })
        }
    }
}
