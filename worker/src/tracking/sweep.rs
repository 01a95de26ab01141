//! Open runs of the tracker that are nobody's: of a worker that died, of a run that lost its fence, of a request that
//! came through after its sender had given it up.

use events::ports::OpenRun;
use events::{Job, JobId};

use super::Tracker;
use super::settle::Unsettled;
use crate::session::Session;

/// Deletes the open runs of a job, or of this board, that are nobody's.
pub(super) async fn sweep(session: &Session, tracker: &Tracker, of: Option<JobId>) -> Result<(), Unsettled> {
    let port = &tracker.config.port;
    // The jobs are read after the runs were listed: a run that is open has been started in the log before.
    for open in port.open_runs(of).await? {
        let job = session.ports.status.job(open.job).await?;
        // A run that was closed since it was listed is not deleted.
        if !is_somebodys(job.as_ref(), &open) && port.delete_open(&open.run_id).await? {
            tracing::info!(run = open.run_id, job = %open.job, "an open run that was nobody's was deleted");
        }
    }
    Ok(())
}

/// Whether the run is the last of a job that has not ended, which may yet end as it is; or one whose end waits, or one that
/// the job knows as its own.
fn is_somebodys(job: Option<&Job>, open: &OpenRun) -> bool {
    let Some(job) = job else { return false };
    (!job.is_terminal() && job.fences.last() == Some(&open.fence))
        || job.untracked.iter().any(|end| end.fence == open.fence)
        || job.tracked.as_ref().is_some_and(|run| run.run_id == open.run_id)
}
