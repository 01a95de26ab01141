//! Live state, lost without harm: newest output, progress, nudges, notes, uploads in flight.

pub(crate) mod listeners;
pub(crate) mod live_log;
pub(crate) mod log_feed;
pub(crate) mod nudge;
pub(crate) mod progress;
pub(crate) mod tracking_notes;
pub(crate) mod uploads;
