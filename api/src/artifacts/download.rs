//! One file as an answer: the whole file, a range, or a note that the client has it already.

use std::io;

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use events::ports::ArtifactReader;
use events::{Artifact, Job};
use futures::stream;
use serde_json::json;
use utoipa::IntoParams;

use super::catalogue::{Artifacts, Kept};
use super::media;
use super::range::{Wanted, wanted};
use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::request::id::RequestId;

const PIECE_BYTES: usize = 256 << 10;

/// The headers that ask for less than the whole file.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what the handlers read")]
pub(crate) struct Wishes {
    /// One range, such as `bytes=0-1023`. Anything else returns the whole file.
    #[param(rename = "Range")]
    range: Option<String>,
    /// The `ETag` that the file must have for `Range` to count.
    #[param(rename = "If-Range")]
    if_range: Option<String>,
    /// One `ETag` or more, of files that you have.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Answers with a file of a job.
///
/// # Errors
/// If storage fails, or has the file no more: then its job has just expired.
pub(super) async fn answer(
    artifacts: &Artifacts,
    job: &Job,
    kept: &Kept,
    file: &Artifact,
    name: &str,
    request: &Parts,
) -> Result<Response, Error> {
    let etag = format!("\"{}\"", file.sha256);
    // Only GET requests may have a range.
    let wanted =
        if request.method == Method::GET { wanted(&request.headers, &etag, file.bytes) } else { Wanted::Whole };
    let mut response = match wanted {
        _ if is_known(&request.headers, &etag) => StatusCode::NOT_MODIFIED.into_response(),
        Wanted::None => unsatisfiable(file.bytes),
        Wanted::Whole => content(artifacts, job, kept, file, 0, file.bytes).await?,
        Wanted::Part { first, last } => {
            let mut part = content(artifacts, job, kept, file, first, last - first + 1).await?;
            *part.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {first}-{last}/{}", file.bytes);
            insert(&mut part, CONTENT_RANGE, &range);
            part
        }
    };
    insert(&mut response, ETAG, &etag);
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if response.status().is_success() {
        media::describe(response.headers_mut(), name);
    }
    media::confine(response.headers_mut());
    Ok(response)
}

async fn content(
    artifacts: &Artifacts,
    job: &Job,
    kept: &Kept,
    file: &Artifact,
    offset: u64,
    bytes: u64,
) -> Result<Response, Error> {
    let gone = || Error::Unknown("the file is no longer kept".to_owned());
    let fence = kept.fence.as_ref().ok_or_else(gone)?;
    let opened = artifacts.port.open(job.id, fence, &file.path, offset).await;
    let reader = opened.map_err(|error| Error::Storage(error.to_string()))?.ok_or_else(gone)?;
    let pieces = stream::try_unfold((reader, bytes), |(mut reader, left)| async move {
        let piece = next(&mut *reader, left).await?;
        let left = left - piece.len() as u64;
        Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, (reader, left))))
    });
    let mut response = Body::from_stream(pieces).into_response();
    response.headers_mut().insert(CONTENT_LENGTH, bytes.into());
    Ok(response)
}

/// Returns the next of the `left` bytes; no bytes at the end.
pub(super) async fn next(reader: &mut dyn ArtifactReader, left: u64) -> io::Result<Bytes> {
    let most = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    if most == 0 {
        return Ok(Bytes::new());
    }
    let piece = reader.read(most).await.map_err(io::Error::other)?;
    if piece.is_empty() {
        return Err(io::Error::other("an artifact is shorter than its list says"));
    }
    Ok(piece)
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

fn unsatisfiable(bytes: u64) -> Response {
    let detail = format!("no byte of the range is among the {bytes} of the file");
    let id = RequestId::current_text();
    let body = Json(json!({ "detail": detail, "code": "range_not_satisfiable", "request_id": id }));
    let mut response = (StatusCode::RANGE_NOT_SATISFIABLE, body).into_response();
    insert(&mut response, CONTENT_RANGE, &format!("bytes */{bytes}"));
    response
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
