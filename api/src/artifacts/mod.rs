//! What jobs left: the list of it, each file, all of it in one archive, and the pictures among it.
//!
//! A path is looked up in the list that was stored with the files, never in the file system.

mod archive;
mod catalogue;
mod download;
mod media;
mod pictures;
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

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::request::extract::VisibleJob;
use crate::request::query::{NoParams, Params};

pub(crate) use archive::archive;
pub(crate) use catalogue::Artifacts;
pub(crate) use pictures::{picture, pictures};

/// What stands for itself in the path of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

#[derive(Serialize)]
pub(crate) struct ListView {
    job_id: String,
    artifacts: Vec<ArtifactView>,
    count: usize,
    bytes: u64,
    digest: Option<String>,
    skipped: Vec<Skipped>,
    skipped_count: u64,
    left_out_count: u64,
}

#[derive(Serialize)]
struct ArtifactView {
    path: String,
    bytes: u64,
    sha256: String,
    url: String,
}

/// What follows the job's id in a path.
#[derive(Deserialize)]
pub(crate) struct Below {
    path: String,
}

/// `GET /jobs/{id}/artifacts`: empty until the job has ended.
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

/// `GET /jobs/{id}/artifacts/{path}`
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
