//! What jobs left: the list of it, each file, all of it in one archive, and the pictures among it.
//!
//! A path is looked up in the list that was stored with the files, never in the file system.

pub(crate) mod archive;
mod catalogue;
mod download;
mod media;
pub(crate) mod pictures;
mod range;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use events::Job;
use events::artifacts::Skipped;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::{FileError, ObjectError};
use crate::openapi::texts::{FileContent, Id, Sha256};
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{NoParams, Params};

pub(crate) use catalogue::Artifacts;

/// What stands for itself in the path of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The files that a job left.
#[derive(Serialize, ToSchema)]
#[schema(as = ArtifactList)]
pub(crate) struct ListView {
    #[schema(value_type = Id)]
    job_id: String,
    artifacts: Vec<ArtifactView>,
    /// How many there are.
    count: usize,
    /// Their size in all.
    bytes: u64,
    /// The SHA-256 of the stored list. Null if there is none.
    #[schema(value_type = Option<Sha256>, required)]
    digest: Option<String>,
    /// The first 1,000 entries that were not kept, and why.
    #[schema(value_type = Vec<SkippedView>)]
    skipped: Vec<Skipped>,
    /// How many entries were not kept.
    skipped_count: u64,
    /// How many files were left out because there were too many.
    left_out_count: u64,
}

/// A file that a job left.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactView {
    /// Its path in the output directory.
    #[schema(example = "metrics.json")]
    path: String,
    bytes: u64,
    #[schema(value_type = Sha256)]
    sha256: String,
    /// The path that downloads it.
    #[schema(example = "/jobs/0192f1c3a4b57c6d8e9fa0b1c2d3e4f5/artifacts/metrics.json")]
    url: String,
}

/// An entry that was not kept, as the domain's `Skipped` writes it.
#[derive(ToSchema)]
#[schema(as = SkippedArtifact)]
#[expect(dead_code, reason = "it describes a type of the domain")]
struct SkippedView {
    path: String,
    #[schema(example = "a symbolic link")]
    reason: String,
}

/// What follows the job's id in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Below {
    /// The path of the file, as the list names it. It may hold slashes.
    #[param(example = "metrics.json")]
    path: String,
}

/// Lists the files that a job left. There are none until the job has ended.
#[utoipa::path(
    get,
    path = "/jobs/{id}/artifacts",
    operation_id = "list_artifacts",
    tag = "Artifacts",
    params(OfJob),
    responses((status = 200, description = "The files.", body = ListView), ObjectError),
)]
pub(crate) async fn list(
    State(artifacts): State<Arc<Artifacts>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
) -> Result<Json<ListView>, Error> {
    let kept = artifacts.of(&job).await?;
    let view = |file: &events::Artifact| ArtifactView {
        path: file.path.to_string(),
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        url: address(&job, "artifacts", file.path.as_str()),
    };
    let views: Vec<ArtifactView> = kept.list.files.iter().map(view).collect();
    Ok(Json(ListView {
        job_id: job.id.to_string(),
        count: views.len(),
        bytes: kept.list.files.iter().map(|file| file.bytes).sum(),
        artifacts: views,
        digest: kept.digest.clone(),
        skipped: kept.list.skipped.clone(),
        skipped_count: kept.list.skipped_count,
        left_out_count: kept.list.left_out_count,
    }))
}

/// Downloads a file that a job left, or a range of it.
#[utoipa::path(
    get,
    path = "/jobs/{id}/artifacts/{*path}",
    operation_id = "download_artifact",
    tag = "Artifacts",
    params(OfJob, Below, download::Wishes),
    responses(
        (status = 200, description = "The file.", headers(("ETag" = String, description = "Its SHA-256, quoted.")),
            content((FileContent = "application/octet-stream"), (FileContent = "*/*"))),
        (status = 206, description = "The range.", headers(("Content-Range" = String, description = "The range.")),
            content((FileContent = "application/octet-stream"), (FileContent = "*/*"))),
        (status = 304, description = "You have the file: its ETag is in `If-None-Match`."),
        FileError,
    ),
)]
pub(crate) async fn file(
    State(artifacts): State<Arc<Artifacts>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
    path: Result<Path<Below>, PathRejection>,
    request: Parts,
) -> Result<Response, Error> {
    let kept = artifacts.of(&job).await?;
    // A path that can't be decoded names nothing either.
    let file = path.as_ref().ok().and_then(|path| kept.list.file(&path.path));
    let file = file.ok_or_else(|| Error::Unknown("the job has left no such file".to_owned()))?;
    download::answer(&artifacts, &job, &kept, file, file.path.file_name(), &request).await
}

fn address(job: &Job, kind: &str, path: &str) -> String {
    format!("/jobs/{}/{kind}/{}", job.id, utf8_percent_encode(path, PLAIN))
}
