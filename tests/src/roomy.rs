//! Limits that no test reaches by accident: a test's load is not what they are for.

use events::Policy;
use events::policy::{LimitSettings, PolicySettings};

/// What one user may have of everything.
const ROOM: u64 = 10_000_000;

/// How many uploads one user may have in flight: the highest limit there is.
const UPLOADS: u64 = 1_000;

/// What is set of such a policy.
#[must_use]
pub fn roomy_settings() -> PolicySettings {
    let limits = LimitSettings {
        max_submissions_per_hour: Some(ROOM),
        max_concurrent_running: Some(ROOM),
        max_queued_per_user: Some(ROOM),
        max_uploads_per_hour: Some(ROOM),
        max_uploads_in_flight: Some(UPLOADS),
        ..LimitSettings::default()
    };
    PolicySettings { limits, ..PolicySettings::default() }
}

/// The default policy with such limits.
#[must_use]
pub fn roomy() -> Policy {
    roomy_settings().policy()
}

/// The same as environment variables of `up` and `migrate`, and a limit of `up` and `api` that is no policy.
pub const ROOMY: [(&str, &str); 6] = [
    ("MAX_SUBMISSIONS_PER_HOUR", "10000000"),
    ("MAX_CONCURRENT_RUNNING", "10000000"),
    ("MAX_QUEUED_PER_USER", "10000000"),
    ("MAX_UPLOADS_PER_HOUR", "10000000"),
    ("MAX_UPLOADS_IN_FLIGHT", "1000"),
    ("MAX_STREAMS_PER_USER", "10000000"),
];
