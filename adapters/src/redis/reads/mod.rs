//! What clients read: the log, the read models, and the figures beside them.

pub(crate) mod durations;
pub(crate) mod entries;
pub(crate) mod event_log;
pub(crate) mod feed;
pub(crate) mod index;
pub(crate) mod job_status;
pub(crate) mod records;
pub(crate) mod usage;
