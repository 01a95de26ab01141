//! Bringing one accepted end of a run into the tracker.

use events::execute::ExecuteError;
use events::job::{Rejection, TrackedRun};
use events::ports::{PortError, TrackingError};
use events::{Actor, Fence, Job, JobCommand, JobId};

use super::Tracker;
use super::ended_run::EndedRun;
use super::inline::entrypoint;
use super::sweep::sweep;
use crate::session::Session;

/// Why an end is not in the tracker yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsettled {
    /// The tracker.
    #[error("{0}")]
    Tracker(#[from] TrackingError),
    /// The tracker did not answer this, and answers others.
    #[error("{0}")]
    Unanswered(String),
    /// Redis, or what it holds.
    #[error("{0}")]
    Log(String),
}

impl From<PortError> for Unsettled {
    fn from(error: PortError) -> Self {
        Self::Log(error.to_string())
    }
}

/// Has the tracker hold the run under this fence, complete and closed, and notes that it does. Whether there was
/// anything to do.
pub(super) async fn settle(session: &Session, tracker: &Tracker, id: JobId, fence: &Fence) -> Result<bool, Unsettled> {
    let job = session.ports.status.job(id).await?;
    let waits = |job: &Job| job.untracked.iter().any(|end| end.fence == *fence);
    let Some(job) = job.filter(waits) else { return Ok(false) };
    let EndedRun { record, end, .. } = read(session, &job, fence).await?;
    let port = &tracker.config.port;
    let run = port.record(&record).await?;
    // Its files may take long.
    tracker.breaker.close();
    port.upload(&run, &record).await?;
    port.close(&run, &end).await?;
    if job.fences.len() > 1 {
        // Not where the run is recorded: a worker that woke up late would take the present run for nobody's.
        sweep(session, tracker, Some(id)).await?;
    }
    note(session, tracker, &job, fence, run).await?;
    Ok(true)
}

async fn read(session: &Session, job: &Job, fence: &Fence) -> Result<EndedRun, Unsettled> {
    let entrypoint = entrypoint(session, job.spec.submission).await?;
    let history = session.ports.log.history(job.id, 0).await?;
    EndedRun::read(job, fence, &entrypoint, &history).map_err(Unsettled::Log)
}

/// Notes the tracker's run in the job's history. Where another was noted meanwhile, this one is too many.
async fn note(
    session: &Session,
    tracker: &Tracker,
    job: &Job,
    fence: &Fence,
    run: TrackedRun,
) -> Result<(), Unsettled> {
    let command = JobCommand::Track { fence: fence.clone(), run: run.clone() };
    let actor = Actor::System("tracker".to_owned());
    match session.command_as(actor, job.id, &command, job.trace.clone()).await {
        Ok(_) | Err(ExecuteError::Rejected(Rejection::Unknown)) => Ok(()),
        Err(ExecuteError::Rejected(_)) => {
            // It may be this very commit, whose answer was lost.
            let noted = read(session, job, fence).await?.noted;
            if noted.is_some_and(|noted| noted.run_id != run.run_id) {
                tracker.config.port.delete(&run.run_id).await?;
            }
            Ok(())
        }
        Err(error) => Err(Unsettled::Log(error.to_string())),
    }
}
