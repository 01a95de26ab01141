//! Live state, lost without harm: output as it comes, progress, nudges.

pub(crate) mod event_feed;
pub(crate) mod live_log;
pub(crate) mod log_feed;
pub(crate) mod nudge;
pub(crate) mod progress;
pub(crate) mod uploads;
