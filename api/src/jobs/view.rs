//! Jobs as clients see them. Fields whose value is not known yet are present and null.

use std::collections::BTreeMap;

use events::ports::FoundResults;
use events::time::to_rfc3339;
use events::{Job, JobState, JobStatus};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::progress::{ProgressView, StageView};
use super::queue::QueueView;
use crate::openapi::texts::{ClassName, Failed, Id, Status, Time, UserName};

/// The status of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = JobStatus)]
pub(crate) struct StatusView {
    #[schema(value_type = Id)]
    job_id: String,
    #[schema(value_type = Id)]
    submission_id: String,
    #[schema(value_type = UserName)]
    user_id: String,
    #[schema(value_type = Status)]
    status: JobStatus,
    #[schema(value_type = Time)]
    created_at: String,
    #[schema(value_type = Time)]
    updated_at: String,
    /// The id of the run in MLflow. Null until MLflow has it.
    #[schema(required)]
    run_id: Option<String>,
    /// Why the job failed or was cancelled.
    #[schema(required)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = JobSummary)]
pub(crate) struct SummaryView {
    #[serde(flatten)]
    status: StatusView,
    #[schema(value_type = ClassName)]
    resource_class: String,
    /// The number of runs so far.
    attempt: u32,
    /// What the job waits for. Null unless it is pending.
    #[schema(required)]
    queue: Option<QueueView>,
}

impl SummaryView {
    pub(super) fn of(job: &Job, queue: Option<QueueView>) -> Self {
        let (resource_class, attempt) = (job.spec.class.to_string(), job.attempt());
        Self { status: StatusView::of(job), resource_class, attempt, queue }
    }
}

/// A whole job, as `Spliced` writes it.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(super) struct JobDocument {
    #[serde(flatten)]
    details: JobView,
    /// The config exactly as it was written. Null only if it can't be read.
    #[schema(required)]
    config: Option<Map<String, Value>>,
}

/// All of one job except its config.
#[derive(Serialize, ToSchema)]
#[schema(as = JobDetails)]
pub(crate) struct JobView {
    #[serde(flatten)]
    summary: SummaryView,
    /// The worker of the newest run.
    #[schema(required)]
    worker: Option<String>,
    /// The GPUs of the newest run.
    gpus: Vec<String>,
    /// How the newest run is confined.
    #[schema(required, example = "full")]
    sandbox: Option<String>,
    /// Whether MLflow has all runs of the job: `waiting` or `recorded`. Null if they are not to be recorded.
    #[schema(required)]
    tracking: Option<&'static str>,
    /// Why MLflow does not have them yet.
    #[schema(required)]
    tracking_error: Option<String>,
    /// When the newest run began.
    #[schema(value_type = Option<Time>, required)]
    started_at: Option<String>,
    #[schema(value_type = Option<Time>, required)]
    finished_at: Option<String>,
    /// The seconds between these two times.
    #[schema(required)]
    run_seconds: Option<f64>,
    /// What the worker does now. Null unless the job runs.
    #[schema(required)]
    stage: Option<StageView>,
    /// What the program reported last. Null until it reports something.
    #[schema(required)]
    progress: Option<ProgressView>,
    /// Why the job failed. Null unless it has failed.
    #[schema(required)]
    failure: Option<FailureView>,
    /// Null until the job has completed.
    #[schema(required)]
    params: Option<Map<String, Value>>,
    /// Null until the job has completed.
    #[schema(required)]
    metrics: Option<BTreeMap<String, f64>>,
    /// Null until the job has completed.
    #[schema(required)]
    performance: Option<Map<String, Value>>,
    /// How many metrics are on no board, because the job has too many. Null if all are.
    #[schema(required)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = JobFailure)]
struct FailureView {
    #[schema(value_type = Failed)]
    kind: &'static str,
    /// One sentence for people.
    error: String,
    /// The exit code of the program.
    #[schema(required)]
    exit_code: Option<i32>,
    /// The last lines of the log. Empty if the program did not start.
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
