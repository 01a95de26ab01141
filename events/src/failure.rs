//! Why a run ended badly, in the words that clients and dashboards branch on.

use serde::{Deserialize, Serialize};

/// What a job itself did wrong. Final: nobody but its author can cure it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It ran longer than its resource class allows.
    Timeout,
    /// The kernel killed it for want of host memory.
    OomHost,
    /// It asked for more GPU memory than there is.
    OomGpu,
    /// It exited with a code other than 0.
    NonzeroExit,
    /// A signal ended it that the platform did not send.
    Signal,
    /// It exited with 0 and left no `metrics.json`.
    MissingMetrics,
    /// It left a `metrics.json` that breaks the rules.
    InvalidMetrics,
    /// It wrote more than its class allows.
    OutputLimit,
    /// Its archive, entrypoint or config could not be prepared.
    Setup,
}

impl FailureKind {
    /// The kind as events, answers and metric labels spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::OomHost => "oom_host",
            Self::OomGpu => "oom_gpu",
            Self::NonzeroExit => "nonzero_exit",
            Self::Signal => "signal",
            Self::MissingMetrics => "missing_metrics",
            Self::InvalidMetrics => "invalid_metrics",
            Self::OutputLimit => "output_limit",
            Self::Setup => "setup",
        }
    }
}

/// A failed run, told so that its author can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, for programs.
    pub kind: FailureKind,
    /// What went wrong, in one sentence for people.
    pub error: String,
    /// The exit code, where the process exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of the log, at most [`LOG_TAIL_BYTES`].
    #[serde(default)]
    pub log_tail: String,
}

/// The most bytes of log that a failure event carries.
pub const LOG_TAIL_BYTES: usize = 1024;

/// Why a worker no longer holds a job it had started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// The worker died or fell silent.
    WorkerLost,
    /// The platform failed: storage, disk, the sandbox's own helper.
    Infrastructure,
    /// The worker was asked to stop and gave the job back.
    Drain,
    /// The worker can't set up any job, while another can.
    WorkerUnfit,
}

impl LossCause {
    /// The cause as events and metric labels spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkerLost => "worker_lost",
            Self::Infrastructure => "infrastructure",
            Self::Drain => "drain",
            Self::WorkerUnfit => "worker_unfit",
        }
    }
}

/// Why the platform gave a job up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterKind {
    /// It took too many workers with it.
    WorkerLost,
    /// The platform failed it too often.
    Infrastructure,
}

impl DeadLetterKind {
    /// The kind as events, answers and metric labels spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkerLost => "worker_lost",
            Self::Infrastructure => "infrastructure",
        }
    }
}
