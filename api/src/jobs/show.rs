//! Showing one job.

use std::sync::Arc;

use axum::extract::State;
use events::JobState;
use events::ports::{JobStatusPort, ProgressPort, TrackingNotesPort, WhyUntracked};

use super::progress;
use super::queue::Queues;
use super::view::{JobDocument, JobView, StatusView, tracking};
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::answer::spliced::Spliced;
use crate::openapi::errors::ObjectError;
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{NoParams, Params};

/// The reason why a run is not recorded if no process records runs.
const NOBODY_RECORDS: &str =
    "no worker records runs at the moment: none that was started with MLFLOW_TRACKING_URI is there";

/// Reads the parts of a job that its record does not have.
pub(crate) struct JobDetails {
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) progress: Arc<dyn ProgressPort>,
    pub(crate) tracking_notes: Arc<dyn TrackingNotesPort>,
}

/// Shows the status of a job.
#[utoipa::path(
    get,
    path = "/jobs/{id}/status",
    operation_id = "job_status",
    tag = "Jobs",
    params(OfJob),
    responses((status = 200, description = "The status.", body = StatusView), ObjectError),
)]
pub(crate) async fn status(VisibleJob(job): VisibleJob) -> Json<StatusView> {
    Json(StatusView::of(&job))
}

/// Shows a job with all its fields.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    operation_id = "show_job",
    tag = "Jobs",
    params(OfJob),
    responses((status = 200, description = "The job.", body = JobDocument), ObjectError),
)]
pub(crate) async fn show(
    State(details): State<Arc<JobDetails>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
) -> Result<Spliced<JobView>, Error> {
    let results = match job.state {
        JobState::Completed(_) => details.status.results(job.id).await?,
        JobState::Pending(_)
        | JobState::Running
        | JobState::Failed(_)
        | JobState::Cancelled(_)
        | JobState::DeadLettered(_) => None,
    };
    let queue = details.queues.of(std::slice::from_ref(&job)).await?.pop().flatten();
    let stage = progress::stage(&*details.progress, &job).await?;
    let progress = progress::of(&*details.progress, &job).await?;
    let tracking_error = match tracking(&job) {
        Some("waiting") => match details.tracking_notes.why_untracked(job.id).await? {
            WhyUntracked::Wrong(why) => Some(why),
            WhyUntracked::InLine => None,
            WhyUntracked::Nobody => Some(NOBODY_RECORDS.to_owned()),
        },
        _ => None,
    };
    let (config, unreadable) = match events::json::read(&job.spec.config) {
        Ok(_) => (job.spec.config.clone(), None),
        Err(error) => ("null".to_owned(), Some(("config", error.to_string()))),
    };
    let mut view = JobView::of(&job, results, queue, stage, progress, tracking_error);
    view.unreadable.extend(unreadable);
    Ok(Spliced { object: view, name: "config", text: config })
}
