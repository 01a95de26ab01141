//! The stage, the progress and the curves of a run, as its worker reported them last.

use std::sync::Arc;

use axum::extract::State;
use events::ports::{Curve, PortError, ProgressPort, Stage, StageSeen, Stated};
use events::time::to_rfc3339;
use events::{Job, JobStatus};
use serde::Serialize;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::request::extract::VisibleJob;
use crate::request::query::{NoParams, Params};

#[derive(Serialize)]
pub(crate) struct ProgressView {
    fraction: f64,
    message: String,
    at: String,
}

/// The stage of a run, and how much of it is done.
#[derive(Serialize, Clone, PartialEq)]
pub(crate) struct StageView {
    name: &'static str,
    since: String,
    bytes_done: Option<u64>,
    bytes_total: Option<u64>,
    reason: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct CurvesView {
    job_id: String,
    attempt: u32,
    curves: Vec<CurveView>,
}

#[derive(Serialize)]
struct CurveView {
    name: String,
    /// The step, or the seconds since the program began, and the value.
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

/// `GET /jobs/{id}/curves`, of the newest attempt.
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
