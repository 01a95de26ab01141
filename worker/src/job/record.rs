//! Recording the outcome of a run. It is given up only for a lost fence, or when the worker is to wait no longer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::execute::ExecuteError;
use events::failure::{Failure, FailureKind};
use events::job::{ArtifactTotals, Rejection, TrackedRun};
use events::ports::{DurationsPort, JobStatusPort};
use events::problem::chain;
use events::{Fence, Job, JobCommand, JobState};
use tokio::time::Instant;

use crate::commands::Commands;
use crate::job::outcome::{Outcome, RunEnd};
use crate::job::run::{Run, Settled};
use crate::observe;
use crate::outage::Outage;
use crate::recovery::worker_directory::WorkerDirectory;
use crate::stop::Stop;
use crate::tracking::Tracker;

/// Records the ends of runs.
pub(crate) struct EndRecorder {
    pub(crate) commands: Commands,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) durations: Arc<dyn DurationsPort>,
    /// The tracker. `None` if runs are not recorded in one.
    pub(crate) tracker: Option<Arc<Tracker>>,
    /// The directory of this worker process.
    pub(crate) directory: PathBuf,
    pub(crate) stop: Stop,
}

/// What Redis said to the outcome.
enum Recorded {
    Yes,
    Refused(Rejection),
    /// The worker must stop, and Redis has not answered.
    Unanswered,
}

impl EndRecorder {
    /// Commits the outcome, however long Redis takes to accept it, until the worker must stop. Another worker runs
    /// again what is not recorded then, once the lease has ended.
    pub(crate) async fn record(&self, run: &Run, end: RunEnd) -> Settled {
        let RunEnd { outcome, run_time, artifacts } = end;
        let (name, kind) = label(&outcome);
        let class = &run.job.spec.class;
        let whole_run = run_time.filter(|_| ran_to_its_end(&outcome));
        let began = Instant::now();
        let tracked = match (&outcome, &self.tracker) {
            (Outcome::Completed(results), Some(tracker)) => {
                tracker.record_in_time(&self.stop, run, results, &artifacts).await
            }
            _ => None,
        };
        let is_tracked = tracked.is_some();
        let Some(command) = command(&run.fence, outcome, artifacts, tracked) else {
            self.tell_lost(run, name).await;
            observe::ended(class, name, kind, run_time);
            return Settled::Yes;
        };
        match self.commit(run, command).await {
            Recorded::Yes => {
                tracing::info!(outcome = name, kind, "the job has ended");
                observe::ended(class, name, kind, run_time);
                if let Some(tracker) = &self.tracker {
                    tracker.note_end();
                }
                self.note_duration(run, whole_run).await;
                Settled::Yes
            }
            Recorded::Refused(refusal) => {
                tracing::debug!(%refusal, "the end of a run was refused");
                self.tell_lost(run, name).await;
                observe::ended(class, "lost", "", run_time);
                if let Some(tracker) = self.tracker.as_ref().filter(|_| is_tracked) {
                    tracker.discard(&self.stop, run, began).await;
                }
                Settled::Yes
            }
            Recorded::Unanswered => {
                tracing::warn!(
                    outcome = name,
                    kind,
                    "the end of the job could not be recorded; another worker runs it again"
                );
                if let Err(error) = WorkerDirectory::note_unrecorded(&self.directory, &run.fence) {
                    tracing::warn!(%error, "nor could that be noted: it costs the job a try");
                }
                Settled::No
            }
        }
    }

    async fn commit(&self, run: &Run, mut command: JobCommand) -> Recorded {
        let recorded = async {
            let mut outage = Outage::of("recording the end of a job");
            loop {
                let error = match self.commands.carry_out(run.job.id, &command, run.job.trace.clone()).await {
                    Ok(_) => break Recorded::Yes,
                    Err(ExecuteError::Rejected(refusal)) => break Recorded::Refused(refusal),
                    // Results that can't be stored never will be. Their author must cure that.
                    Err(error @ ExecuteError::TooLarge(_)) if matches!(command, JobCommand::Complete { .. }) => {
                        command = unstorable(&run.fence, &error.to_string());
                        continue;
                    }
                    Err(error) => chain(&error),
                };
                outage.pause(&error, self.commands.ids.jitter()).await;
            }
        };
        tokio::select! {
            recorded = recorded => recorded,
            () = self.stop.patience_is_over() => Recorded::Unanswered,
        }
    }

    /// Says that a run counts for nothing. That is as it should be if somebody cancelled the job by force.
    async fn tell_lost(&self, run: &Run, outcome: &str) {
        let job = self.status.job(run.job.id).await.ok().flatten();
        let is_own = |job: &Job| job.fences.last() == Some(&run.fence);
        if job.is_some_and(|job| is_own(&job) && matches!(job.state, JobState::Cancelled(_))) {
            tracing::info!("the job was cancelled by force; its program has ended");
        } else {
            tracing::warn!(outcome, "the job has another run now; this one is not recorded");
        }
    }

    /// Notes how long a run took. That only serves estimates: a failure loses nothing.
    async fn note_duration(&self, run: &Run, whole_run: Option<Duration>) {
        let Some(took) = whole_run else { return };
        let noted = tokio::select! {
            noted = self.durations.note(&run.job.spec.class, took) => noted,
            () = self.stop.patience_is_over() => return,
        };
        if let Err(error) = noted {
            tracing::debug!(%error, "how long the run took could not be noted");
        }
    }
}

/// Whether an outcome is the end of its program, and not of its worker.
const fn ran_to_its_end(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed(_) | Outcome::Failed(_) | Outcome::Cancelled => true,
        Outcome::GivenBack(..) | Outcome::Lost => false,
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
