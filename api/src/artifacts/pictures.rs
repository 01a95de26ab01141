//! The pictures and tables among what a job left.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use events::artifacts::{VisualizationKind, is_table};
use events::{Job, JobStatus};
use serde::{Deserialize, Serialize};

use super::catalogue::{Artifacts, Kept, Picture};
use super::{address, download};
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::request::extract::VisibleJob;

#[derive(Serialize)]
pub(crate) struct PicturesView {
    job_id: String,
    artifacts: Vec<PictureView>,
    /// The names of the tables, which are fetched in the same way.
    csv_files: Vec<String>,
}

#[derive(Serialize)]
struct PictureView {
    filename: String,
    artifact_type: VisualizationKind,
    url: String,
}

/// What follows the job's id in a path.
#[derive(Deserialize)]
pub(crate) struct Named {
    filename: String,
}

/// `GET /jobs/{id}/visualizations`: empty until the job has completed.
pub(crate) async fn pictures(
    State(artifacts): State<Arc<Artifacts>>,
    VisibleJob(job): VisibleJob,
) -> Result<Json<PicturesView>, Error> {
    let kept = of_completed(&artifacts, &job).await?;
    let view = |picture: &Picture| PictureView {
        filename: picture.file_name.clone(),
        artifact_type: picture.kind,
        url: address(&job, "visualizations", &picture.file_name),
    };
    let pictures = kept.pictures.iter().map(view).collect();
    let tables = kept.list.files.iter().filter(|file| is_table(&file.path));
    let csv_files = tables.map(|file| file.path.to_string()).collect();
    Ok(Json(PicturesView { job_id: job.id.to_string(), artifacts: pictures, csv_files }))
}

/// `GET /jobs/{id}/visualizations/{filename}`
pub(crate) async fn picture(
    State(artifacts): State<Arc<Artifacts>>,
    VisibleJob(job): VisibleJob,
    name: Result<Path<Named>, PathRejection>,
    request: Parts,
) -> Result<Response, Error> {
    let kept = of_completed(&artifacts, &job).await?;
    let file = name.as_ref().ok().and_then(|name| {
        if let Some(table) = kept.list.file(&name.filename).filter(|file| is_table(&file.path)) {
            return Some(table);
        }
        let at = kept.pictures.binary_search_by(|picture| picture.file_name.as_str().cmp(&name.filename)).ok()?;
        kept.list.file(kept.pictures[at].path.as_str())
    });
    let file = file.ok_or_else(|| Error::Unknown("the job has left no such visualization".to_owned()))?;
    download::answer(&artifacts, &job, &kept, file, file.path.file_name(), &request).await
}

async fn of_completed(artifacts: &Artifacts, job: &Job) -> Result<Arc<Kept>, Error> {
    if job.status() == JobStatus::Completed { artifacts.of(job).await } else { Ok(Arc::default()) }
}
