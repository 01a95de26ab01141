//! Deletes orphaned runs of the tracker: of a worker that died, of a run that lost its fence, of a request that came
//! through after its sender had given it up.

use events::ports::OpenRun;
use events::{Job, JobId};

use super::tracker::{Tracker, Unsettled};

impl Tracker {
    /// Deletes the open runs of a job, or of this board, that no job claims.
    pub(super) async fn sweep(&self, of: Option<JobId>) -> Result<(), Unsettled> {
        // The jobs are read after the runs were listed: the log has the start of each open run by then.
        for open in self.port().open_runs(of).await? {
            let job = self.status.job(open.job).await?;
            // A run that was closed since it was listed is not deleted.
            if !is_claimed(job.as_ref(), &open) && self.port().delete_open(&open.run_id).await? {
                tracing::info!(run = open.run_id, job = %open.job, "deleted an orphaned open run");
            }
        }
        Ok(())
    }
}

/// Whether the run is the last of a job that has not ended, which may yet end as it is; or one whose end waits; or one
/// that the job knows as its own.
fn is_claimed(job: Option<&Job>, open: &OpenRun) -> bool {
    let Some(job) = job else { return false };
    (!job.is_terminal() && job.fences.last() == Some(&open.fence))
        || job.untracked.iter().any(|end| end.fence == open.fence)
        || job.tracked.as_ref().is_some_and(|run| run.run_id == open.run_id)
}
