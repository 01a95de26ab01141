//! Recording the outcome of a run. It is given up only for a lost fence, or when the worker is to wait no longer.

use std::time::Duration;

use events::execute::ExecuteError;
use events::failure::{Failure, FailureKind};
use events::job::{ArtifactTotals, Rejection, TrackedRun};
use events::{Fence, Job, JobCommand, JobState};
use tokio::time::Instant;

use crate::job::judge::Outcome;
use crate::job::life::Report;
use crate::job::start::Run;
use crate::observe;
use crate::outage::Outage;
use crate::recovery::worker_directory::Station;
use crate::session::{Session, Settled};
use crate::tracking::{discard, record_in_time};

/// Commits the outcome, however long Redis takes to accept it, until the worker is to wait no longer. What is not recorded
/// then is run again by another worker, once the lease has ended.
pub(crate) async fn record(session: &Session, run: &Run, report: Report) -> Settled {
    let Report { outcome, run_time, artifacts } = report;
    let (name, kind) = label(&outcome);
    let whole_run = run_time.filter(|_| ran_to_its_end(&outcome));
    let began = Instant::now();
    let tracked = match &outcome {
        Outcome::Completed(results) => record_in_time(session, run, results, &artifacts).await,
        Outcome::Failed(_) | Outcome::Cancelled | Outcome::GivenBack(..) | Outcome::Lost => None,
    };
    let is_recorded = tracked.is_some();
    let Some(mut command) = command(&run.fence, outcome, artifacts, tracked) else {
        tell_lost(session, run, name).await;
        observe::ended(&run.job.spec.class, name, kind, run_time);
        return Settled::Yes;
    };
    let recorded = async {
        let mut outage = Outage::of("recording the end of a job");
        loop {
            let error = match session.command(run.job.id, &command, run.job.trace.clone()).await {
                Ok(_) => break Recorded::Yes,
                Err(ExecuteError::Rejected(refusal)) => break Recorded::Refused(refusal),
                // Results that can't be stored would never be: that is their author's to cure, and not to be tried for ever.
                Err(error @ ExecuteError::TooLarge(_)) if matches!(command, JobCommand::Complete { .. }) => {
                    command = unstorable(&run.fence, &error.to_string());
                    continue;
                }
                Err(error) => error.to_string(),
            };
            outage.pause(&error, session.ports.ids.jitter()).await;
        }
    };
    let recorded = tokio::select! {
        recorded = recorded => recorded,
        () = session.stop.patience_is_over() => {
            tracing::warn!(outcome = name, kind, "the end of the job could not be recorded; another worker runs it again");
            if let Err(error) = Station::note_unrecorded(&session.station, &run.fence) {
                tracing::warn!(%error, "nor could that be noted: it costs the job a try");
            }
            return Settled::No;
        }
    };
    match recorded {
        Recorded::Yes => {
            tracing::info!(outcome = name, kind, "the job has ended");
            observe::ended(&run.job.spec.class, name, kind, run_time);
            if let Some(tracker) = &session.tracker {
                tracker.note_end();
            }
            note_duration(session, run, whole_run).await;
        }
        Recorded::Refused(refusal) => {
            tracing::debug!(%refusal, "the end of a run was refused");
            tell_lost(session, run, name).await;
            observe::ended(&run.job.spec.class, "lost", "", run_time);
            if is_recorded {
                discard(session, run, began).await;
            }
        }
    }
    Settled::Yes
}

/// What Redis said to the outcome.
enum Recorded {
    Yes,
    Refused(Rejection),
}

/// Tells that a run counts for nothing. That is as it should be if somebody cancelled the job by force.
async fn tell_lost(session: &Session, run: &Run, outcome: &str) {
    let job = session.ports.status.job(run.job.id).await.ok().flatten();
    let is_own = |job: &Job| job.fences.last() == Some(&run.fence);
    if job.is_some_and(|job| is_own(&job) && matches!(job.state, JobState::Cancelled(_))) {
        tracing::info!("the job was cancelled by force; its program has ended");
    } else {
        tracing::warn!(outcome, "the job has another run now; this one is not recorded");
    }
}

/// Whether an outcome is the end of its program, and not of its worker.
const fn ran_to_its_end(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed(_) | Outcome::Failed(_) | Outcome::Cancelled => true,
        Outcome::GivenBack(..) | Outcome::Lost => false,
    }
}

/// Notes how long a run took, for those who wait. It only serves estimates: where it fails, nothing is lost.
async fn note_duration(session: &Session, run: &Run, whole_run: Option<Duration>) {
    let Some(took) = whole_run else { return };
    let noted = tokio::select! {
        noted = session.ports.durations.note(&run.job.spec.class, took) => noted,
        () = session.stop.patience_is_over() => return,
    };
    if let Err(error) = noted {
        tracing::debug!(%error, "how long the run took could not be noted");
    }
}

/// The command that records an outcome; `None` if nothing is to be recorded.
fn command(
    fence: &Fence,
    outcome: Outcome,
    artifacts: ArtifactTotals,
    tracked: Option<TrackedRun>,
) -> Option<JobCommand> {
    let fence = fence.clone();
    match outcome {
        Outcome::Completed(results) => Some(JobCommand::Complete { fence, results, artifacts, tracked }),
        Outcome::Failed(failure) => Some(JobCommand::Fail { fence, failure }),
        Outcome::Cancelled => Some(JobCommand::AcknowledgeCancel { fence }),
        Outcome::GivenBack(cause, error) => Some(JobCommand::LoseLease { fence, cause, error }),
        Outcome::Lost => None,
    }
}

fn unstorable(fence: &Fence, problem: &str) -> JobCommand {
    let failure = Failure {
        kind: FailureKind::InvalidMetrics,
        error: format!("the results could not be stored: {problem}"),
        exit_code: Some(0),
        log_tail: String::new(),
    };
    JobCommand::Fail { fence: fence.clone(), failure }
}

/// The outcome and its kind as metrics name them.
const fn label(outcome: &Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Completed(_) => ("completed", ""),
        Outcome::Failed(failure) => ("failed", failure.kind.as_str()),
        Outcome::Cancelled => ("cancelled", ""),
        Outcome::GivenBack(cause, _) => ("given_back", cause.as_str()),
        Outcome::Lost => ("lost", ""),
    }
}
