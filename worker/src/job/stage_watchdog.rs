//! How long a run may show no sign of life in the stage it is in.
//!
//! Each stage has a bound of its own. The watchdog has a second one, in case the first fails: it stops the beats of a
//! run that is past it. Then the lease ends, and the job runs again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use events::ports::{Stage, StageName};
use tokio::sync::watch;
use tokio::time::Instant;

/// How much later than its own bound a stage counts as stuck.
const SLACK: Duration = Duration::from_mins(1);

/// The stage that a run is in, and until when that may last.
#[derive(Debug, Default)]
pub(crate) struct StageWatchdog {
    bounded: Mutex<Option<(&'static str, Instant)>>,
    shown: watch::Sender<Option<Stage>>,
}

impl StageWatchdog {
    /// Enters a stage that has a bound of its own.
    pub(crate) fn enter(&self, stage: &'static str, bound: Duration) {
        let until = Instant::now() + bound.saturating_add(SLACK).min(Duration::from_hours(24 * 365));
        *self.bounded.lock().unwrap_or_else(PoisonError::into_inner) = Some((stage, until));
    }

    /// Enters a stage that may last as long as it likes: it only waits for Redis, which hears the beats too.
    pub(crate) fn enter_unbounded(&self) {
        *self.bounded.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Shows the stage to clients.
    pub(crate) fn show(&self, stage: Stage) {
        self.shown.send_replace(Some(stage));
    }

    /// Shows why preparation waits; `None` when it continues.
    pub(crate) fn wait_for(&self, reason: Option<String>) {
        self.show(Stage { reason, ..StageName::Preparing.into() });
    }

    /// What the run does, as it is shown.
    pub(crate) fn stages(&self) -> watch::Receiver<Option<Stage>> {
        self.shown.subscribe()
    }

    /// The stage that lasts too long, if it does.
    pub(crate) fn stuck_in(&self) -> Option<&'static str> {
        let stage = *self.bounded.lock().unwrap_or_else(PoisonError::into_inner);
        stage.filter(|(_, until)| Instant::now() > *until).map(|(stage, _)| stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stage_is_stuck_once_its_bound_and_the_slack_are_over() {
        let watchdog = StageWatchdog::default();
        watchdog.enter("fetching", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(69)).await;
        assert_eq!(watchdog.stuck_in(), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(watchdog.stuck_in(), Some("fetching"));
        watchdog.enter("running", Duration::MAX);
        assert_eq!(watchdog.stuck_in(), None);
        watchdog.enter_unbounded();
        tokio::time::advance(Duration::from_hours(9)).await;
        assert_eq!(watchdog.stuck_in(), None);
    }
}
