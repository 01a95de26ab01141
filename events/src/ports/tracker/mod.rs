//! The tracker of experiments.

pub(crate) mod tracking;
pub(crate) mod tracking_notes;
