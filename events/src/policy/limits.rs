//! What a user may have in use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::invalid::InvalidPolicy;

/// The highest limit of uploads in flight: they are listed in one key, which is read whole.
const MOST_UPLOADS_IN_FLIGHT: u64 = 1_000;

/// What a user may have in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs accepted in any hour.
    pub jobs_per_hour: u64,
    /// Jobs that have a slot at once: dispatched or running.
    pub running: u64,
    /// What to do with a new job when its user is at the limit of running jobs.
    pub concurrency: ConcurrencyPolicy,
    /// Jobs in status pending.
    pub queued: u64,
    /// Submissions uploaded in any hour.
    pub uploads_per_hour: u64,
    /// Uploads in flight at once, over all API hosts.
    pub uploads_in_flight: u64,
    /// The size of all submissions, in bytes.
    pub stored_bytes: u64,
}

/// What to do with a new job when its user is at the limit of running jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrencyPolicy {
    /// It is refused.
    Reject,
    /// It is accepted and held until a slot is free.
    Queue,
}

/// What was set of the limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSettings {
    /// Jobs accepted in any hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_submissions_per_hour: Option<u64>,
    /// Jobs that have a slot at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_running: Option<u64>,
    /// What to do with a new job when its user is at the limit of running jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// Jobs in status pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued_per_user: Option<u64>,
    /// Submissions uploaded in any hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uploads_per_hour: Option<u64>,
    /// Uploads in flight at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uploads_in_flight: Option<u64>,
    /// The size of all submissions of a user, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stored_bytes_per_user: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs_per_hour: 10,
            running: 1,
            concurrency: ConcurrencyPolicy::Reject,
            queued: 20,
            uploads_per_hour: 60,
            uploads_in_flight: 4,
            stored_bytes: 20 << 30,
        }
    }
}

impl ConcurrencyPolicy {
    /// The policy as it is set.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Queue => "queue",
        }
    }
}

impl fmt::Display for ConcurrencyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ConcurrencyPolicy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let known = [Self::Reject, Self::Queue].into_iter().find(|policy| policy.as_str() == text);
        known.ok_or(InvalidPolicy("CONCURRENCY_POLICY must be reject or queue".into()))
    }
}

impl LimitSettings {
    /// These settings, and for what they leave open those of `older`.
    #[must_use]
    pub fn over(self, older: &Self) -> Self {
        Self {
            max_submissions_per_hour: self.max_submissions_per_hour.or(older.max_submissions_per_hour),
            max_concurrent_running: self.max_concurrent_running.or(older.max_concurrent_running),
            concurrency_policy: self.concurrency_policy.or(older.concurrency_policy),
            max_queued_per_user: self.max_queued_per_user.or(older.max_queued_per_user),
            max_uploads_per_hour: self.max_uploads_per_hour.or(older.max_uploads_per_hour),
            max_uploads_in_flight: self.max_uploads_in_flight.or(older.max_uploads_in_flight),
            max_stored_bytes_per_user: self.max_stored_bytes_per_user.or(older.max_stored_bytes_per_user),
        }
    }

    /// Checks what a program may set.
    ///
    /// # Errors
    /// Which limit would let nothing through.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let at_least_one = [
            (self.max_submissions_per_hour, "MAX_SUBMISSIONS_PER_HOUR must be at least 1, not 0"),
            (self.max_concurrent_running, "MAX_CONCURRENT_RUNNING must be at least 1, not 0"),
            (self.max_queued_per_user, "MAX_QUEUED_PER_USER must be at least 1, not 0"),
            (self.max_uploads_per_hour, "MAX_UPLOADS_PER_HOUR must be at least 1, not 0"),
            (self.max_uploads_in_flight, "MAX_UPLOADS_IN_FLIGHT must be at least 1, not 0"),
            (self.max_stored_bytes_per_user, "MAX_STORED_BYTES_PER_USER must be at least 1, not 0"),
        ];
        match at_least_one.into_iter().find(|(limit, _)| *limit == Some(0)) {
            Some((_, sentence)) => Err(InvalidPolicy(sentence.into())),
            None if self.max_uploads_in_flight.is_some_and(|limit| limit > MOST_UPLOADS_IN_FLIGHT) => {
                Err(InvalidPolicy(format!("MAX_UPLOADS_IN_FLIGHT must be at most {MOST_UPLOADS_IN_FLIGHT}").into()))
            }
            None => Ok(()),
        }
    }

    /// The limits they make.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            jobs_per_hour: self.max_submissions_per_hour.unwrap_or(default.jobs_per_hour),
            running: self.max_concurrent_running.unwrap_or(default.running),
            concurrency: self.concurrency_policy.unwrap_or(default.concurrency),
            queued: self.max_queued_per_user.unwrap_or(default.queued),
            uploads_per_hour: self.max_uploads_per_hour.unwrap_or(default.uploads_per_hour),
            uploads_in_flight: self.max_uploads_in_flight.unwrap_or(default.uploads_in_flight),
            stored_bytes: self.max_stored_bytes_per_user.unwrap_or(default.stored_bytes),
        }
    }
}
