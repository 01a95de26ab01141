//! Brings one accepted end of a run into the tracker.

use std::sync::Arc;

use events::execute::ExecuteError;
use events::job::{Rejection, TrackedRun};
use events::ports::TrackingError;
use events::{Actor, Fence, Job, JobCommand, JobId};

use super::ended_run::EndedRun;
use super::tracker::{Tracker, Unsettled};
use crate::commands::Commands;

/// Brings accepted ends of runs into the tracker.
pub(crate) struct Settler {
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) commands: Commands,
}

impl Settler {
    /// Settles an end. A tracker that answers other requests and not this one is not away: the fault lies in this end,
    /// or the tracker answers only those who read.
    pub(super) async fn settle(&self, id: JobId, fence: &Fence) -> Result<bool, Unsettled> {
        match self.try_settle(id, fence).await {
            Err(Unsettled::Tracker(TrackingError::Away(why))) if self.tracker.port().check().await.is_ok() => {
                Err(Unsettled::Unanswered(why))
            }
            other => other,
        }
    }

    /// Has the tracker hold the run under this fence, complete and closed, and notes that it does. Returns whether
    /// there was anything to do.
    async fn try_settle(&self, id: JobId, fence: &Fence) -> Result<bool, Unsettled> {
        let tracker = &self.tracker;
        let job = tracker.status.job(id).await?;
        let waits = |job: &Job| job.untracked.iter().any(|end| end.fence == *fence);
        let Some(job) = job.filter(waits) else { return Ok(false) };
        let EndedRun { record, end, .. } = self.read(&job, fence).await?;
        let run = tracker.port().record(&record).await?;
        // Its files may take long.
        tracker.breaker.close();
        tracker.port().upload(&run, &record).await?;
        tracker.port().close(&run, &end).await?;
        if job.fences.len() > 1 {
            // Not while the run is recorded: a worker that woke up late would take the present run for an orphan.
            tracker.sweep(Some(id)).await?;
        }
        self.note(&job, fence, run).await?;
        Ok(true)
    }

    async fn read(&self, job: &Job, fence: &Fence) -> Result<EndedRun, Unsettled> {
        let entrypoint = self.tracker.entrypoint(job.spec.submission).await?;
        let history = self.commands.log.history(job.id, 0).await?;
        EndedRun::read(job, fence, &entrypoint, &history).map_err(Unsettled::Log)
    }

    /// Notes the tracker's run in the job's history. If another was noted meanwhile, this one is deleted.
    async fn note(&self, job: &Job, fence: &Fence, run: TrackedRun) -> Result<(), Unsettled> {
        let command = JobCommand::Track { fence: fence.clone(), run: run.clone() };
        let actor = Actor::System("tracker".to_owned());
        match self.commands.carry_out_as(actor, job.id, &command, job.trace.clone()).await {
            Ok(_) | Err(ExecuteError::Rejected(Rejection::Unknown)) => Ok(()),
            Err(ExecuteError::Rejected(_)) => {
                // It may be this very commit, whose answer was lost.
                let noted = self.read(job, fence).await?.noted;
                if noted.is_some_and(|noted| noted.run_id != run.run_id) {
                    self.tracker.port().delete(&run.run_id).await?;
                }
                Ok(())
            }
            Err(error) => Err(Unsettled::Log(error.to_string())),
        }
    }
}
