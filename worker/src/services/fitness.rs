//! Whether a worker can set jobs up. An unfit worker claims nothing and says why.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use events::JobId;
use metrics::gauge;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a job that failed here is left to other workers.
const LEFT_TO_OTHERS: Duration = Duration::from_mins(1);

/// Why a worker takes no jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The kind of reason, without paths and names: anybody may read it.
    pub cause: &'static str,
    /// The reason, for operators.
    pub why: String,
}

impl Unfit {
    pub(crate) const fn new(cause: &'static str, why: String) -> Self {
        Self { cause, why }
    }
}

/// Whether a worker can set jobs up, and since when not.
#[derive(Debug)]
pub struct Fitness {
    state: watch::Sender<State>,
    failed: Mutex<HashMap<JobId, Instant>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    failures_in_a_row: u32,
    unfit: Option<Unfit>,
    /// Why it waits for its turn in vain, which no test of its own can find out.
    hindered: Option<Unfit>,
}

impl Default for Fitness {
    fn default() -> Self {
        gauge!("leadersboard_worker_fit").set(1);
        Self { state: watch::Sender::default(), failed: Mutex::default() }
    }
}

impl Fitness {
    /// Why the worker takes no jobs; none if it takes some.
    #[must_use]
    pub fn unfit(&self) -> Option<Unfit> {
        let state = self.state.borrow();
        state.unfit.as_ref().or(state.hindered.as_ref()).cloned()
    }

    /// Notes why the worker can't begin any job, although its own tests may pass; `None` once it can.
    pub(crate) fn hinder(&self, why: Option<String>) {
        let hindered = why.map(|why| Unfit::new("it can't take its turn to run jobs", why));
        self.change(|state| state.hindered = hindered);
    }

    /// Returns as soon as the worker passes its own tests.
    pub(crate) async fn fit(&self) {
        // The sender lives as long as this.
        let _ = self.state.subscribe().wait_for(|state| state.unfit.is_none()).await;
    }

    /// Returns as soon as the worker is unfit, with the number of jobs in a row that it could not set up.
    pub(crate) async fn becomes_unfit(&self) -> u32 {
        let mut state = self.state.subscribe();
        // The sender lives as long as this.
        state.wait_for(|state| state.unfit.is_some()).await.map_or(0, |state| state.failures_in_a_row)
    }

    /// How many jobs in a row could not be set up here.
    pub(crate) fn failures_in_a_row(&self) -> u32 {
        self.state.borrow().failures_in_a_row
    }

    /// Notes another reason for which the worker stays unfit. That is told already.
    pub(crate) fn stays_unfit(&self, why: Unfit) {
        self.state.send_modify(|state| state.unfit = Some(why));
    }

    /// Returns when this changes.
    pub(crate) async fn changed(&self) {
        let _ = self.state.subscribe().changed().await;
    }

    /// Notes that a job was set up: its program ran.
    pub(crate) fn succeeded(&self, job: JobId) {
        self.failed().remove(&job);
        self.state.send_if_modified(|state| std::mem::take(&mut state.failures_in_a_row) > 0);
    }

    /// Whether a job failed here a short while ago.
    pub(crate) fn failed_here(&self, job: JobId) -> bool {
        self.failed().get(&job).is_some_and(|at| at.elapsed() < LEFT_TO_OTHERS)
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a job failed here, and returns how many could not be set up in a row.
    pub(crate) fn note_failure(&self, job: JobId, stage: FailedStage) -> u32 {
        let mut failed = self.failed();
        failed.retain(|_, at| at.elapsed() < LEFT_TO_OTHERS);
        failed.insert(job, Instant::now());
        if stage == FailedStage::SettingUp {
            self.state.send_modify(|state| state.failures_in_a_row += 1);
        }
        self.failures_in_a_row()
    }

    /// Notes what the tests of the worker found.
    pub(crate) fn set(&self, unfit: Option<Unfit>) {
        self.change(|state| state.unfit = unfit);
    }

    /// Changes the state, and says if the worker takes jobs no more, or again.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let before = self.unfit();
        self.state.send_modify(change);
        let after = self.unfit();
        if before == after {
            return;
        }
        if let Some(Unfit { why, .. }) = &after {
            tracing::error!(why, "this worker can't set up jobs; it takes none until it can");
        } else {
            tracing::info!("this worker takes jobs again");
        }
        gauge!("leadersboard_worker_fit").set(u32::from(after.is_none()));
    }
}

/// How far a run was when the platform failed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedStage {
    /// Its program had not begun.
    SettingUp,
    /// Its program had run: one that fills the disk again and again says nothing of how jobs are set up here.
    LaterOn,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_failed_here_is_left_to_others_for_a_minute_or_until_it_runs_here() {
        let fitness = Fitness::default();
        let [one, two] =
            ["0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6"].map(|id| id.parse().unwrap());
        let fail = |job| fitness.note_failure(job, FailedStage::SettingUp);
        assert_eq!(fitness.note_failure(one, FailedStage::LaterOn), 0, "it was set up");
        assert_eq!((fail(one), fail(two)), (1, 2), "in a row");
        fitness.succeeded(two);
        assert!(fitness.failed_here(one) && !fitness.failed_here(two));
        assert_eq!(fail(two), 1, "not in a row");
        tokio::time::advance(LEFT_TO_OTHERS).await;
        assert!(!fitness.failed_here(one));
    }

    #[test]
    fn a_worker_without_a_turn_is_unfit_whatever_its_tests_say() {
        let fitness = Fitness::default();
        fitness.hinder(Some("the lock can't be taken".to_owned()));
        fitness.set(Some(Unfit::new("its disk is full", "/data is full".to_owned())));
        fitness.set(None);
        assert_eq!(fitness.unfit().unwrap().why, "the lock can't be taken");
        fitness.hinder(None);
        assert_eq!(fitness.unfit(), None);
    }

    #[tokio::test]
    async fn who_waits_for_a_fit_worker_goes_on_when_it_is() {
        let fitness = Arc::new(Fitness::default());
        fitness.fit().await;
        fitness.set(Some(Unfit::new("its disk is full", "/data is full".to_owned())));
        assert_eq!(fitness.unfit().unwrap().cause, "its disk is full");
        let waits = tokio::spawn({
            let fitness = Arc::clone(&fitness);
            async move { fitness.fit().await }
        });
        fitness.set(None);
        waits.await.unwrap();
    }
}
