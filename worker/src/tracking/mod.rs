//! Recording runs in the tracker: before their job's end is committed where the tracker answers in time, and for as
//! long as it takes where it does not.
//!
//! A run is opened under its fence, gets all there is to record, and is closed once the end of its job was accepted.
//! Between those two its worker may die, its fence may be lost, the tracker may not answer: the ends that wait are a
//! read model of the log, and one process at a time goes through it ([`recorder`]). What is left open and waits for
//! nobody is deleted ([`sweep`]).

mod backlog;
mod breaker;
mod ended_run;
mod inline;
mod line;
mod recorder;
mod settle;
mod sweep;
mod tracker;

pub(crate) use recorder::{LEASE, Recorder};
pub(crate) use settle::Settler;
pub(crate) use tracker::Tracker;
pub use tracker::TrackingConfig;
