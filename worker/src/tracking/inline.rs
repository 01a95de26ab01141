//! Recording a run before the end of its job is committed, so that its link is there at once.

use events::job::{ArtifactTotals, TrackedRun};
use events::ports::{PortError, RunRecord, RunStatus, TrackingError};
use events::{Results, SubmissionId};
use metrics::histogram;
use tokio::time::{Instant, timeout};

use super::ended_run::record_of;
use super::sweep::sweep;
use crate::job::start::Run;
use crate::session::Session;

/// Opens the run in the tracker and records what its job left, within the budget; what is not done in time is done
/// once the job has ended. None where the tracker has no run yet, or is not to be waited for.
pub(crate) async fn record_in_time(
    session: &Session,
    run: &Run,
    results: &Results,
    artifacts: &ArtifactTotals,
) -> Option<TrackedRun> {
    let tracker = session.tracker.as_ref()?;
    let is_wanted = run.job.run.as_ref().is_some_and(|run| !run.tracking.is_off());
    if !is_wanted || tracker.config.budget.is_zero() || !tracker.breaker.is_closed() {
        return None;
    }
    let port = &tracker.config.port;
    let mut recorded = None;
    let work = async {
        let entrypoint = entrypoint(session, run.job.spec.submission).await.map_err(unread)?;
        let record = record_of(&run.job, &run.fence, entrypoint, RunStatus::Finished);
        let record = record.ok_or_else(|| TrackingError::Files("the run is not its job's last".to_owned()))?;
        let (results, artifacts) = (results.clone(), Some(artifacts.clone()));
        let record = RunRecord { results, artifacts, known: None, ..record };
        let opened = port.record(&record).await?;
        recorded = Some(opened.clone());
        port.upload(&opened, &record).await
    };
    let began = Instant::now();
    let done = tokio::select! {
        done = timeout(tracker.config.budget, work) => done,
        () = session.stop.patience_is_over() => return recorded,
    };
    histogram!("leadersboard_tracking_inline_seconds").record(began.elapsed());
    match done {
        Ok(Ok(())) => tracker.breaker.close(),
        Err(_) if recorded.is_some() => tracing::info!("the tracker gets the rest of the files afterwards"),
        Err(_) => {
            tracker.breaker.open();
            let budget = tracker.config.budget;
            tracing::warn!("the tracker did not answer within {budget:?}; the run is recorded later");
        }
        Ok(Err(error)) => {
            let left = tracker.config.budget.saturating_sub(began.elapsed());
            let answers = async { matches!(timeout(left, port.check()).await, Ok(Ok(()))) };
            // Where it answers others and not this, it is this one that is wrong.
            if matches!(error, TrackingError::Away(_)) && !answers.await {
                tracker.breaker.open();
            }
            tracing::warn!(%error, "the tracker did not take the run; it is recorded later");
        }
    }
    recorded
}

/// Deletes what a run left open whose end its job did not accept, unless it is somebody's by now, within what `began` left
/// of the budget. Where the tracker does not answer, the next sweep does it.
pub(crate) async fn discard(session: &Session, run: &Run, began: Instant) {
    let Some(tracker) = session.tracker.as_ref().filter(|tracker| tracker.breaker.is_closed()) else { return };
    let left = tracker.config.budget.saturating_sub(began.elapsed());
    let swept = tokio::select! {
        swept = timeout(left, sweep(session, tracker, Some(run.job.id))) => swept,
        () = session.stop.patience_is_over() => return,
    };
    match swept {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "what this run left in the tracker is deleted later"),
        Err(_) => tracing::info!("what this run left in the tracker is deleted later"),
    }
}

/// The file that the jobs of a submission run; an empty name where the submission is gone.
pub(super) async fn entrypoint(session: &Session, submission: SubmissionId) -> Result<String, PortError> {
    let submission = session.ports.status.submission(submission).await?;
    Ok(submission.map(|submission| submission.manifest.entrypoint).unwrap_or_default())
}

fn unread(error: PortError) -> TrackingError {
    TrackingError::Files(format!("the submission could not be read: {error}"))
}
