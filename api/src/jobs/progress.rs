//! The stage, the progress and the curves of a run, as its worker reported them last.

use std::sync::Arc;

use axum::extract::State;
use events::ports::{Curve, PortError, ProgressPort, Stage, StageSeen, Stated};
use events::time::to_rfc3339;
use events::{Job, JobStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::ObjectError;
use crate::openapi::texts::{self, Id, Time};
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{NoParams, Params};

/// What a program reported last of its progress.
#[derive(Serialize, ToSchema)]
#[schema(as = Progress)]
pub(crate) struct ProgressView {
    #[schema(minimum = 0, maximum = 1)]
    fraction: f64,
    #[schema(max_length = 200, example = "epoch 5/20")]
    message: String,
    #[schema(value_type = Time)]
    at: String,
}

/// The stage of a run, and how much of it is done.
#[derive(Serialize, Clone, PartialEq, ToSchema)]
#[schema(as = JobStage)]
pub(crate) struct StageView {
    #[schema(value_type = texts::Stage)]
    name: &'static str,
    #[schema(value_type = Time)]
    since: String,
    /// Bytes copied so far. Null outside the stage `storing`.
    #[schema(required)]
    bytes_done: Option<u64>,
    #[schema(required)]
    bytes_total: Option<u64>,
    /// What the run waits for if it can't continue.
    #[schema(required)]
    reason: Option<String>,
}

/// The curves of the newest attempt.
#[derive(Serialize, ToSchema)]
#[schema(as = Curves)]
pub(crate) struct CurvesView {
    #[schema(value_type = Id)]
    job_id: String,
    attempt: u32,
    curves: Vec<CurveView>,
}

/// The values of one metric over the course of a run.
#[derive(Serialize, ToSchema)]
#[schema(as = Curve)]
struct CurveView {
    #[schema(example = "loss")]
    name: String,
    /// At most 500 points in ascending order. A point is the step, or the seconds since the program began, and the value.
    #[schema(value_type = Vec<Vec<f64>>, example = json!([[1, 0.9], [2, 0.5]]))]
    points: Vec<(f64, f64)>,
}

/// Returns the progress that the newest attempt of a job reported; `None` for a pending job.
pub(super) async fn of(port: &dyn ProgressPort, job: &Job) -> Result<Option<ProgressView>, Error> {
    match job.fences.last() {
        Some(fence) if job.status() != JobStatus::Pending => match port.progress(job.id, fence).await {
            Ok(stated) => Ok(stated.map(ProgressView::from)),
            Err(PortError::Corrupt(problem)) => {
                tracing::warn!(job = %job.id, %problem, "a job's progress can't be read");
                Ok(None)
            }
            Err(away) => Err(away.into()),
        },
        _ => Ok(None),
    }
}

/// Returns the stage of a running job; `None` if it is not known.
pub(super) async fn stage(port: &dyn ProgressPort, job: &Job) -> Result<Option<StageView>, Error> {
    match job.fences.last() {
        Some(fence) if job.status() == JobStatus::Running => Ok(port.stage(job.id, fence).await?.map(StageView::from)),
        _ => Ok(None),
    }
}

/// Shows the curves of a job's newest attempt.
#[utoipa::path(
    get,
    path = "/jobs/{id}/curves",
    operation_id = "job_curves",
    tag = "Results",
    params(OfJob),
    responses((status = 200, description = "The curves.", body = CurvesView), ObjectError),
)]
pub(crate) async fn curves(
    State(port): State<Arc<dyn ProgressPort>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
) -> Result<Json<CurvesView>, Error> {
    let curves = match job.fences.last() {
        Some(fence) => port.curves(job.id, fence).await?,
        None => Vec::new(),
    };
    let curves = curves.into_iter().map(|Curve { name, points }| CurveView { name, points }).collect();
    Ok(Json(CurvesView { job_id: job.id.to_string(), attempt: job.attempt(), curves }))
}

impl From<StageSeen> for StageView {
    fn from(StageSeen { stage, since }: StageSeen) -> Self {
        let Stage { name, bytes_done, bytes_total, reason } = stage;
        Self { name: name.as_str(), since: to_rfc3339(since), bytes_done, bytes_total, reason }
    }
}

impl From<Stated> for ProgressView {
    fn from(Stated { progress, at }: Stated) -> Self {
        Self { fraction: progress.fraction, message: progress.message, at: to_rfc3339(at) }
    }
}
