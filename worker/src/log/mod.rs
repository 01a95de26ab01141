//! What a job prints: kept, and shown as it comes.

pub(crate) mod job_log;
pub(crate) mod live_log;
