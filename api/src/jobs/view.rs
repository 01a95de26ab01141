//! Jobs as clients see them. Fields whose value is not known yet are present and null.

use std::collections::BTreeMap;

use events::ports::FoundResults;
use events::time::to_rfc3339;
use events::{Job, JobState, JobStatus};
use serde::Serialize;
use serde_json::{Map, Value};

use super::progress::{ProgressView, StageView};
use super::queue::QueueView;

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
    queue: Option<QueueView>,
}

impl SummaryView {
    pub(super) fn of(job: &Job, queue: Option<QueueView>) -> Self {
        let (resource_class, attempt) = (job.spec.class.to_string(), job.attempt());
        Self { status: StatusView::of(job), resource_class, attempt, queue }
    }
}

/// All of one job but its config, which is shown as it was written.
#[derive(Serialize)]
pub(crate) struct JobView {
    #[serde(flatten)]
    summary: SummaryView,
    worker: Option<String>,
    gpus: Vec<String>,
    sandbox: Option<String>,
    tracking: Option<&'static str>,
    tracking_error: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    run_seconds: Option<f64>,
    stage: Option<StageView>,
    progress: Option<ProgressView>,
    failure: Option<FailureView>,
    params: Option<Map<String, Value>>,
    metrics: Option<BTreeMap<String, f64>>,
    performance: Option<Map<String, Value>>,
    unranked_metrics: Option<usize>,
    /// What of it can't be read, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) unreadable: BTreeMap<&'static str, String>,
}

impl JobView {
    pub(super) fn of(
        job: &Job,
        results: Option<FoundResults>,
        queue: Option<QueueView>,
        stage: Option<StageView>,
        progress: Option<ProgressView>,
        tracking_error: Option<String>,
    ) -> Self {
        let run = job.run.as_ref();
        let ended_at = job.ended_at();
        let unranked_metrics = unranked(job, results.as_ref());
        let FoundResults { params, metrics, performance, unreadable } = results.unwrap_or_default();
        Self {
            summary: SummaryView::of(job, queue),
            worker: run.map(|run| run.worker.to_string()),
            gpus: run.map(|run| run.gpus.clone()).unwrap_or_default(),
            sandbox: run.map(|run| run.sandbox.clone()),
            tracking: tracking(job),
            tracking_error,
            started_at: run.map(|run| to_rfc3339(run.started_at)),
            finished_at: ended_at.map(to_rfc3339),
            run_seconds: ended_at.zip(run).map(|(ended_at, run)| (ended_at - run.started_at).as_seconds_f64()),
            stage,
            progress,
            failure: FailureView::of(job),
            params,
            metrics,
            performance,
            unranked_metrics,
            unreadable,
        }
    }
}

/// How many of a job's metrics are on no board, because it has too many; `None` if all are.
fn unranked(job: &Job, results: Option<&FoundResults>) -> Option<usize> {
    results?.metrics.as_ref()?.len().checked_sub(job.ranked()?.len()).filter(|count| *count > 0)
}

/// Whether the tracker has the run of a job that has ended; `None` if the run is not to be recorded.
pub(super) fn tracking(job: &Job) -> Option<&'static str> {
    match &job.tracked {
        _ if !job.is_terminal() => None,
        _ if !job.untracked.is_empty() => Some("waiting"),
        tracked => tracked.as_ref().map(|_| "recorded"),
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
