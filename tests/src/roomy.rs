//! Limits that no test reaches by accident: a test's load is not what they are for.

use events::{Limits, Policy};

/// What one user may have of everything.
const ROOM: u64 = 10_000_000;

/// The default policy with such limits.
#[must_use]
pub fn roomy() -> Policy {
    let limits =
        Limits { jobs_per_hour: ROOM, running: ROOM, queued: ROOM, uploads_per_hour: ROOM, ..Limits::default() };
    Policy { limits, ..Policy::default() }
}

/// The same as environment variables of `up` and `migrate`.
pub const ROOMY: [(&str, &str); 4] = [
    ("MAX_SUBMISSIONS_PER_HOUR", "10000000"),
    ("MAX_CONCURRENT_RUNNING", "10000000"),
    ("MAX_QUEUED_PER_USER", "10000000"),
    ("MAX_UPLOADS_PER_HOUR", "10000000"),
];
