//! How a run ended: its outcome, its run time and its artifacts.

use std::time::Duration;

use events::failure::{Failure, FailureKind};
use events::job::ArtifactTotals;
use events::{LossCause, Results};

use crate::job::interrupt::Reason;

/// The outcome of a run, as the worker records it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The run left results.
    Completed(Results),
    /// The run failed through a fault of its own.
    Failed(Failure),
    /// The run was stopped because somebody cancelled the job.
    Cancelled,
    /// The platform can't finish the run now. The policy says what follows.
    GivenBack(LossCause, String),
    /// The job belongs to another run by now: nothing is recorded.
    Lost,
}

impl Outcome {
    /// The outcome if the platform failed, and not the job.
    pub(crate) fn broken(what: impl Into<String>) -> Self {
        Self::GivenBack(LossCause::Infrastructure, what.into())
    }

    /// The outcome if the job's files can't be run.
    pub(crate) fn setup_failure(error: String) -> Self {
        Self::Failed(Failure { kind: FailureKind::Setup, error, exit_code: None, log_tail: String::new() })
    }

    /// The outcome of a run that was stopped.
    pub(crate) fn stopped(reason: Reason) -> Self {
        match reason {
            Reason::Cancel => Self::Cancelled,
            Reason::Lost => Self::Lost,
            Reason::Drain => Self::GivenBack(LossCause::Drain, "the worker was asked to stop".to_owned()),
        }
    }
}

/// The outcome of a run, and the artifacts that were stored.
pub(crate) struct RunEnd {
    pub(crate) outcome: Outcome,
    /// How long the program ran. `None` if it did not start.
    pub(crate) run_time: Option<Duration>,
    pub(crate) artifacts: ArtifactTotals,
}

impl From<Outcome> for RunEnd {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, run_time: None, artifacts: ArtifactTotals::default() }
    }
}
