//! The pictures and tables among what a job left.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use events::artifacts::{VisualizationKind, is_table};
use events::{Job, JobStatus};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::catalogue::{Artifacts, Kept, Picture};
use super::{address, download};
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::{FileError, ObjectError};
use crate::openapi::texts::{FileContent, Id};
use crate::request::extract::{OfJob, VisibleJob};

/// The pictures and tables among the files that a job left.
#[derive(Serialize, ToSchema)]
#[schema(as = VisualizationList)]
pub(crate) struct PicturesView {
    #[schema(value_type = Id)]
    job_id: String,
    artifacts: Vec<PictureView>,
    /// The names of the tables, which are fetched in the same way.
    #[schema(example = json!(["preds.csv"]))]
    csv_files: Vec<String>,
}

/// A picture that a job left.
#[derive(Serialize, ToSchema)]
#[schema(as = Visualization)]
struct PictureView {
    #[schema(example = "x_heatmap.png")]
    filename: String,
    /// What its name says: `original`, `heatmap`, `mask` or `overlay`, else `unknown`.
    #[schema(value_type = String, example = "heatmap")]
    artifact_type: VisualizationKind,
    /// The path that downloads it.
    #[schema(example = "/jobs/0192f1c3a4b57c6d8e9fa0b1c2d3e4f5/visualizations/x_heatmap.png")]
    url: String,
}

/// What follows the job's id in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Named {
    /// The name of the file, as the list has it.
    #[param(example = "x_heatmap.png")]
    filename: String,
}

/// Lists the pictures and tables of a job. There are none until the job has completed.
#[utoipa::path(
    get,
    path = "/jobs/{id}/visualizations",
    operation_id = "list_visualizations",
    tag = "Artifacts",
    params(OfJob),
    responses((status = 200, description = "The pictures and tables.", body = PicturesView), ObjectError),
)]
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

/// Downloads a picture or a table of a job, or a range of it.
#[utoipa::path(
    get,
    path = "/jobs/{id}/visualizations/{filename}",
    operation_id = "download_visualization",
    tag = "Artifacts",
    params(OfJob, Named, download::Wishes),
    responses(
        (status = 200, description = "The file.", headers(("ETag" = String, description = "Its SHA-256, quoted.")),
            content((FileContent = "application/octet-stream"), (FileContent = "*/*"))),
        (status = 206, description = "The range.", headers(("Content-Range" = String, description = "The range.")),
            content((FileContent = "application/octet-stream"), (FileContent = "*/*"))),
        (status = 304, description = "You have the file: its ETag is in `If-None-Match`."),
        FileError,
    ),
)]
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
