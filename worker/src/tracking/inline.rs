//! Records a run before the end of its job is committed, so that its link is there at once.

use events::Results;
use events::job::{ArtifactTotals, TrackedRun};
use events::ports::{PortError, RunRecord, RunStatus, TrackingError};
use metrics::histogram;
use tokio::time::{Instant, timeout};

use super::ended_run::record_of;
use super::tracker::Tracker;
use crate::job::run::Run;
use crate::stop::Stop;

/// How an attempt to record a run within the budget ended.
enum Attempted {
    Recorded,
    Refused(TrackingError),
    /// The budget is over.
    TooLate,
}

impl Tracker {
    /// Opens the run in the tracker and records the job's output, within the budget; the recorder does the rest after
    /// the job has ended. Returns `None` if the tracker has no run yet, or is known to be away.
    pub(crate) async fn record_in_time(
        &self,
        stop: &Stop,
        run: &Run,
        results: &Results,
        artifacts: &ArtifactTotals,
    ) -> Option<TrackedRun> {
        let is_wanted = run.job.run.as_ref().is_some_and(|run| !run.tracking.is_off());
        if !is_wanted || self.config.budget.is_zero() || !self.breaker.is_closed() {
            return None;
        }
        let mut opened = None;
        let began = Instant::now();
        let attempted = tokio::select! {
            done = timeout(self.config.budget, self.record(run, results, artifacts, &mut opened)) => match done {
                Ok(Ok(())) => Attempted::Recorded,
                Ok(Err(error)) => Attempted::Refused(error),
                Err(_) => Attempted::TooLate,
            },
            () = stop.patience_is_over() => return opened,
        };
        histogram!("leadersboard_tracking_inline_seconds").record(began.elapsed());
        self.learn_from(attempted, opened.is_some(), began).await;
        opened
    }

    /// Opens the run, which is then in `opened`, and sends all there is to record.
    async fn record(
        &self,
        run: &Run,
        results: &Results,
        artifacts: &ArtifactTotals,
        opened: &mut Option<TrackedRun>,
    ) -> Result<(), TrackingError> {
        let unread = |error: PortError| TrackingError::Files(format!("the submission could not be read: {error}"));
        let entrypoint = self.entrypoint(run.job.spec.submission).await.map_err(unread)?;
        let record = record_of(&run.job, &run.fence, entrypoint, RunStatus::Finished);
        let record = record.ok_or_else(|| TrackingError::Files("the run is not its job's last".to_owned()))?;
        let (results, artifacts) = (results.clone(), Some(artifacts.clone()));
        let record = RunRecord { results, artifacts, known: None, ..record };
        let run = opened.insert(self.port().record(&record).await?);
        self.port().upload(run, &record).await
    }

    /// Opens or closes the breaker, so that no job waits for a tracker that is away.
    async fn learn_from(&self, attempted: Attempted, is_open: bool, began: Instant) {
        let budget = self.config.budget;
        match attempted {
            Attempted::Recorded => self.breaker.close(),
            Attempted::TooLate if is_open => tracing::info!("LeadersBoard sends the remaining files to MLflow later"),
            Attempted::TooLate => {
                self.breaker.open();
                tracing::warn!("MLflow did not answer within {budget:?}; LeadersBoard records the run later");
            }
            Attempted::Refused(error) => {
                let left = budget.saturating_sub(began.elapsed());
                let answers = async { matches!(timeout(left, self.port().check()).await, Ok(Ok(()))) };
                // If the tracker answers other requests, the fault lies in this one.
                if matches!(error, TrackingError::Away(_)) && !answers.await {
                    self.breaker.open();
                }
                tracing::warn!(%error, "MLflow did not accept the run; LeadersBoard records it later");
            }
        }
    }

    /// Deletes the run that was left open if its job did not accept its end, within the rest of the budget since
    /// `began`. If the tracker does not answer, the next sweep deletes it.
    pub(crate) async fn discard(&self, stop: &Stop, run: &Run, began: Instant) {
        if !self.breaker.is_closed() {
            return;
        }
        let left = self.config.budget.saturating_sub(began.elapsed());
        let swept = tokio::select! {
            swept = timeout(left, self.sweep(Some(run.job.id))) => swept,
            () = stop.patience_is_over() => return,
        };
        match swept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%error, "the open run in the tracker is deleted later"),
            Err(_) => tracing::info!("the open run in the tracker is deleted later"),
        }
    }
}
