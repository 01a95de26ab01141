//! What handlers take in: query strings, JSON bodies, and the job or the submission that is named.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::Bytes;
use events::{Job, JobId, Submission, SubmissionId};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Api;
use crate::auth::Caller;
use crate::body::Stalled;
use crate::error::{Error, cause};

/// The most bytes a JSON body may have.
pub(crate) const MAX_JSON_BYTES: usize = 64 * 1024;

/// A query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Error::Invalid(crate::error::chain(&rejection))),
        }
    }
}

/// A JSON body of at most [`MAX_JSON_BYTES`].
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let content_type = media_type(request.headers());
        if content_type != "application/json" {
            return Err(Error::MediaType(format!("the body must be application/json, not {content_type:?}")));
        }
        let bytes = read_body(request.into_body()).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Error::Invalid(format!("the body can't be taken: {error}")))
    }
}

async fn read_body(body: Body) -> Result<Bytes, Error> {
    match Limited::new(body, MAX_JSON_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::TooLarge(format!("the body is larger than {MAX_JSON_BYTES} bytes")))
        }
        Err(error) if cause::<Stalled>(&*error).is_some() => Err(Error::Stalled),
        Err(_) => Err(Error::Invalid("the body was cut off".to_owned())),
    }
}

/// The content type without its parameters, in lower case; empty where there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let name = text.and_then(|text| text.split(';').next());
    name.unwrap_or_default().trim().to_ascii_lowercase()
}

/// A path that names a job, and maybe something of it.
#[derive(Deserialize)]
struct OfJob {
    id: String,
}

/// The job that the path names, if the caller may see it.
pub(crate) struct VisibleJob(pub(crate) Job);

impl FromRequestParts<Arc<Api>> for VisibleJob {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let unknown = || Error::Unknown("there is no such job".to_owned());
        let Path(OfJob { id }) = Path::from_request_parts(parts, api).await.map_err(|_| unknown())?;
        let id: JobId = id.parse().map_err(|_| unknown())?;
        tracing::Span::current().record("job_id", tracing::field::display(id));
        match api.status.job(id).await? {
            Some(job) if caller.may_see(&job.spec.user) => Ok(Self(job)),
            _ => Err(unknown()),
        }
    }
}

/// The submission that the path names, if the caller may see it.
pub(crate) struct VisibleSubmission(pub(crate) Submission);

impl FromRequestParts<Arc<Api>> for VisibleSubmission {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let path = Path::<String>::from_request_parts(parts, api).await;
        // A path that can't be decoded names nothing either.
        visible_submission(api, &caller, path.as_deref().map_or("", String::as_str)).await.map(Self)
    }
}

/// The submission of that id, if the caller may see it.
pub(crate) async fn visible_submission(api: &Api, caller: &Caller, id: &str) -> Result<Submission, Error> {
    let unknown = || Error::Unknown("there is no such submission".to_owned());
    let id: SubmissionId = id.parse().map_err(|_| unknown())?;
    tracing::Span::current().record("submission_id", tracing::field::display(id));
    match api.status.submission(id).await? {
        Some(submission) if caller.may_see(&submission.manifest.user) => Ok(submission),
        _ => Err(unknown()),
    }
}
