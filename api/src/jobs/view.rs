//! How jobs look to clients. A key whose value is not known yet is there and null.

use std::collections::BTreeMap;

use events::job::Losses;
use events::ports::QueuePosition;
use events::time::to_rfc3339;
use events::{ClassName, Job, JobState, JobStatus, Results, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Error;

/// The answer to `GET /jobs/{id}/status`.
#[derive(Serialize)]
pub(crate) struct StatusView {
    job_id: String,
    submission_id: String,
    user_id: String,
    status: JobStatus,
    created_at: String,
    updated_at: String,
    run_id: Option<String>,
    error: Option<String>,
}

impl StatusView {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            job_id: job.id.to_string(),
            submission_id: job.spec.submission.to_string(),
            user_id: job.spec.user.to_string(),
            status: job.status(),
            created_at: to_rfc3339(job.created_at),
            updated_at: to_rfc3339(job.updated_at),
            run_id: job.tracked.as_ref().map(|run| run.run_id.clone()),
            error: job.error().map(str::to_owned),
        }
    }
}

/// One job among many.
#[derive(Serialize)]
pub(crate) struct SummaryView {
    #[serde(flatten)]
    status: StatusView,
    resource_class: String,
    attempt: u32,
}

impl SummaryView {
    pub(super) fn of(job: &Job) -> Self {
        Self { status: StatusView::of(job), resource_class: job.spec.class.to_string(), attempt: job.attempt() }
    }
}

/// All of one job.
#[derive(Serialize)]
pub(crate) struct JobView {
    #[serde(flatten)]
    summary: SummaryView,
    config: Box<RawValue>,
    worker: Option<String>,
    gpus: Vec<String>,
    sandbox: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    run_seconds: Option<f64>,
    failure: Option<FailureView>,
    params: Option<Map<String, Value>>,
    metrics: Option<BTreeMap<String, f64>>,
    performance: Option<Map<String, Value>>,
    queue: Option<QueueView>,
}

impl JobView {
    pub(super) fn of(job: &Job, results: Option<Results>, queue: Option<QueueView>) -> Result<Self, Error> {
        let config = RawValue::from_string(job.spec.config.clone())
            .map_err(|error| Error::Internal(format!("the config of {} is no JSON: {error}", job.id)))?;
        let run = job.run.as_ref();
        let ended_at = job.ended_at();
        let (params, metrics, performance) = match results {
            Some(results) => (Some(results.params), Some(results.metrics), Some(results.performance)),
            None => (None, None, None),
        };
        Ok(Self {
            summary: SummaryView::of(job),
            config,
            worker: run.map(|run| run.worker.to_string()),
            gpus: run.map(|run| run.gpus.clone()).unwrap_or_default(),
            sandbox: run.map(|run| run.sandbox.clone()),
            started_at: run.map(|run| to_rfc3339(run.started_at)),
            finished_at: ended_at.map(to_rfc3339),
            run_seconds: ended_at.zip(run).map(|(ended_at, run)| (ended_at - run.started_at).as_seconds_f64()),
            failure: FailureView::of(job),
            params,
            metrics,
            performance,
            queue,
        })
    }
}

/// Why a job ended badly.
#[derive(Serialize)]
struct FailureView {
    kind: &'static str,
    error: String,
    exit_code: Option<i32>,
    log_tail: String,
}

impl FailureView {
    fn of(job: &Job) -> Option<Self> {
        match &job.state {
            JobState::Failed(ended) => Some(Self {
                kind: ended.why.kind.as_str(),
                error: ended.why.error.clone(),
                exit_code: ended.why.exit_code,
                log_tail: ended.why.log_tail.clone(),
            }),
            JobState::DeadLettered(ended) => Some(Self {
                kind: ended.why.kind.as_str(),
                error: ended.why.error.clone(),
                exit_code: None,
                log_tail: String::new(),
            }),
            JobState::Pending(_) | JobState::Running | JobState::Completed(_) | JobState::Cancelled(_) => None,
        }
    }
}

/// What a pending job waits for.
#[derive(Serialize)]
pub(crate) struct QueueView {
    position: Option<u64>,
    ahead: Option<u64>,
    workers_alive: Option<u64>,
    eta_seconds: Option<u64>,
    reason: String,
}

impl QueueView {
    fn waiting(ahead: Option<u64>, reason: String) -> Self {
        Self { position: ahead.map(|ahead| ahead + 1), ahead, workers_alive: None, eta_seconds: None, reason }
    }

    /// For a slot of its user's.
    pub(super) fn held() -> Self {
        Self::waiting(None, "held until a slot is free".to_owned())
    }

    /// For a worker.
    pub(super) fn dispatched(class: &ClassName, position: Option<QueuePosition>) -> Self {
        let ahead = position.map(|position| position.ahead);
        let reason = match ahead {
            None => "a worker has just taken it".to_owned(),
            Some(0) => format!("next in line: waiting for a free worker of class {class}"),
            Some(1) => format!("1 job of class {class} is ahead of it"),
            Some(many) => format!("{many} jobs of class {class} are ahead of it"),
        };
        Self::waiting(ahead, reason)
    }

    /// For its time.
    pub(super) fn delayed(due: Timestamp, now: Timestamp, losses: Losses) -> Self {
        let seconds = (due - now).as_seconds_f64().max(0.0).ceil();
        let cause = match (losses.worker_lost, losses.infrastructure) {
            (0, 0) => "after its worker was stopped",
            (_, 0) => "after a lost worker",
            (_, _) => "after a failure of the platform",
        };
        Self::waiting(None, format!("retry in {seconds} s {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_is_told_in_one_sentence() {
        let small: ClassName = "small".parse().unwrap();
        let reason = |ahead| QueueView::dispatched(&small, Some(QueuePosition { ahead })).reason;
        assert_eq!(reason(0), "next in line: waiting for a free worker of class small");
        assert_eq!(reason(1), "1 job of class small is ahead of it");
        assert_eq!(reason(2), "2 jobs of class small are ahead of it");
        let now = Timestamp::default();
        let losses = Losses { worker_lost: 1, infrastructure: 0 };
        let delayed = |due| QueueView::delayed(due, now, losses).reason;
        assert_eq!(delayed(now + Duration::from_millis(3_200)), "retry in 4 s after a lost worker");
        assert_eq!(delayed(now - Duration::from_secs(5)), "retry in 0 s after a lost worker");
    }
}
