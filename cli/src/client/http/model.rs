//! The server's answers, as far as the commands look into them.

use events::JobId;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::ClientError;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
    /// One that a newer server knows; treated as not yet over.
    #[serde(other)]
    Unknown,
}

impl Status {
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Running | Self::Unknown => false,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// The answer of `GET /jobs/{id}`, and one entry of `GET /jobs`. All that is not needed may be missing.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "named as in the server's answer")]
pub(crate) struct Job {
    pub(crate) job_id: String,
    pub(crate) submission_id: String,
    pub(crate) user_id: String,
    pub(crate) status: Status,
    pub(crate) created_at: String,
    pub(crate) resource_class: Option<String>,
    /// Starts so far; before the first one 0 or missing.
    pub(crate) attempt: Option<u32>,
    pub(crate) worker: Option<String>,
    pub(crate) gpus: Option<Value>,
    pub(crate) sandbox: Option<Value>,
    #[serde(default)]
    pub(crate) tracking: Option<String>,
    #[serde(default)]
    pub(crate) tracking_error: Option<String>,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) run_seconds: Option<f64>,
    pub(crate) run_id: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) stage: Option<Stage>,
    pub(crate) progress: Option<Progress>,
    pub(crate) failure: Option<Failure>,
    pub(crate) params: Option<Map<String, Value>>,
    pub(crate) metrics: Option<Map<String, Value>>,
    pub(crate) performance: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) unranked_metrics: Option<usize>,
    pub(crate) queue: Option<Queue>,
}

impl Job {
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.unwrap_or(0)
    }

    /// The sentence that says why it failed, where it did.
    pub(crate) fn why(&self) -> Option<&str> {
        let told = self.failure.as_ref().map(|failure| failure.error.as_str());
        told.or(self.error.as_deref()).filter(|why| !why.is_empty())
    }
}

/// What a running job does, beside what its program says.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) bytes_done: Option<u64>,
    pub(crate) bytes_total: Option<u64>,
    /// Why it goes no further, if it does not.
    pub(crate) reason: Option<String>,
}

impl Stage {
    /// Whether its program has ended.
    pub(crate) fn is_after_program(&self) -> bool {
        matches!(self.name.as_str(), "storing" | "recording")
    }
}

/// How far a job said it was.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Progress {
    pub(crate) fraction: f64,
    pub(crate) message: Option<String>,
    pub(crate) at: Option<String>,
}

/// Why a job failed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) error: String,
    pub(crate) exit_code: Option<i64>,
    pub(crate) log_tail: Option<String>,
}

/// What a pending job waits for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Queue {
    pub(crate) position: Option<u64>,
    pub(crate) ahead: Option<u64>,
    pub(crate) workers_alive: Option<u64>,
    pub(crate) eta_seconds: Option<f64>,
    pub(crate) reason: Option<String>,
}

/// A piece of an attempt's log: the answer of `GET /jobs/{id}/logs`, and a `log` message of its stream.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct LogChunk {
    /// The attempt that was read.
    pub(crate) attempt: u32,
    /// Byte of the stored log at which `logs` begins.
    pub(crate) offset: u64,
    /// Byte at which to go on.
    pub(crate) next_offset: u64,
    pub(crate) logs: String,
    /// The attempt has ended and this piece reached the end of its log. A stream tells that otherwise.
    #[serde(default)]
    pub(crate) complete: bool,
}

/// An `attempt` message of a log's stream.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct AttemptBegins {
    pub(crate) attempt: u32,
    /// Byte of its log at which the stream goes on.
    pub(crate) offset: u64,
}

/// One entry of a job's history.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) at: String,
    pub(crate) actor: Option<String>,
    #[serde(default)]
    pub(crate) data: Value,
}

/// Reads the job in a document. Programs get the document itself.
pub(crate) fn parse_job(document: &Value) -> Result<Job, ClientError> {
    Job::deserialize(document).map_err(|_| ClientError::unknown_form("the job"))
}

/// Reads the id of a job or a submission. No argument can become another path of the server.
pub(crate) fn parse_id(text: &str) -> Result<String, String> {
    text.parse::<JobId>().map(|id| id.to_string()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_job_is_understood() {
        let job: Job = serde_json::from_value(serde_json::json!({
            "job_id": "j", "submission_id": "s", "user_id": "u", "status": "paused",
            "created_at": "2026-01-01T00:00:00Z", "something": "new", "error": "", "attempt": null,
        }))
        .unwrap();
        assert_eq!((job.status, job.attempt(), job.why()), (Status::Unknown, 0, None));
    }

    #[test]
    fn an_id_can_not_be_a_path() {
        assert!(parse_id("0192f1c3a4b57c6d8e9fa0b1c2d3e4f5").is_ok());
        for bad in ["", "../x", "a/b", "a?b", "a b", "0198c1a2-7b", "0192F1C3A4B57C6D8E9FA0B1C2D3E4F5"] {
            assert!(parse_id(bad).is_err(), "{bad:?}");
        }
    }
}
