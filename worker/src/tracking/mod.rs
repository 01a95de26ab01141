//! Recording runs in the tracker: before their job's end is committed where the tracker answers in time, and for as
//! long as it takes where it does not.
//!
//! A run is opened under its fence, gets all there is to record, and is closed once the end of its job was accepted.
//! Between those two its worker may die, its fence may be lost, the tracker may not answer: the ends that wait are a
//! read model of the log, and one process at a time goes through it ([`drain`]). What is left open and waits for nobody
//! is deleted ([`sweep`]).

mod backlog;
mod breaker;
mod drain;
mod ended_run;
mod inline;
mod line;
mod settle;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use events::job::Tracking;
use events::ports::TrackingPort;
use tokio::sync::Notify;

pub(crate) use drain::run;
pub(crate) use inline::{discard, record_in_time};

use breaker::Breaker;

/// How runs are recorded in the tracker.
#[derive(Clone)]
pub struct TrackingConfig {
    /// The tracker.
    pub port: Arc<dyn TrackingPort>,
    /// Which ends of the runs begun here are recorded.
    pub wish: Tracking,
    /// How long the end of a job may wait for the tracker.
    pub budget: Duration,
    /// How often to search for orphaned open runs.
    pub sweep_interval: Duration,
}

impl std::fmt::Debug for TrackingConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wish, budget, .. } = self;
        f.debug_struct("TrackingConfig").field("wish", wish).field("budget", budget).finish_non_exhaustive()
    }
}

/// The tracker as this process knows it.
pub(crate) struct Tracker {
    config: TrackingConfig,
    breaker: Breaker,
    ended: Notify,
}

impl Tracker {
    pub(crate) fn new(config: TrackingConfig) -> Self {
        Self { config, breaker: Breaker::default(), ended: Notify::new() }
    }

    /// Which ends of a run that begins now are recorded.
    pub(crate) const fn wish(&self) -> Tracking {
        self.config.wish
    }

    /// Tells that the end of a run was committed.
    pub(crate) fn note_end(&self) {
        self.ended.notify_one();
    }
}
