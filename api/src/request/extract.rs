//! The job or the submission that a path names.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use events::ports::{JobStatusPort, Owned, PortError};
use events::{Job, JobId, Submission, SubmissionId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::answer::error::Error;
use crate::openapi::texts::Id;
use crate::request::auth::authenticator::Authenticator;
use crate::request::auth::{Caller, Role};

/// Returns the content type without its parameters, in lower case; empty if there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let name = text.and_then(|text| text.split(';').next());
    name.unwrap_or_default().trim().to_ascii_lowercase()
}

/// A path that names a job, or a part of a job.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfJob {
    /// The id of the job.
    #[param(value_type = Id)]
    id: String,
}

/// The job that the path names, if the caller may see it.
pub(crate) struct VisibleJob(pub(crate) Job);

impl<S> FromRequestParts<S> for VisibleJob
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
    Arc<dyn JobStatusPort>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let unknown = || Error::Unknown("there is no such job".to_owned());
        let Path(OfJob { id }) = Path::from_request_parts(parts, state).await.map_err(|_| unknown())?;
        let id: JobId = id.parse().map_err(|rule| Error::Unknown(format!("there is no such job: {rule}")))?;
        tracing::Span::current().record("job", tracing::field::display(id));
        let status = Arc::<dyn JobStatusPort>::from_ref(state);
        match status.job(id).await {
            Ok(Some(job)) if caller.may_see(&job.spec.user) => Ok(Self(job)),
            Ok(_) => Err(unknown()),
            Err(error) => Err(unreadable(&*status, &caller, Owned::Job(id), error).await.unwrap_or_else(unknown)),
        }
    }
}

/// The submission that the path names, if the caller may see it.
pub(crate) struct VisibleSubmission(pub(crate) Submission);

impl<S> FromRequestParts<S> for VisibleSubmission
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
    Arc<dyn JobStatusPort>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let path = Path::<String>::from_request_parts(parts, state).await;
        let status = Arc::<dyn JobStatusPort>::from_ref(state);
        // A path that can't be decoded names nothing either.
        visible_submission(&*status, &caller, path.as_deref().map_or("", String::as_str)).await.map(Self)
    }
}

/// Returns the submission with this id, if the caller may see it.
pub(crate) async fn visible_submission(
    status: &dyn JobStatusPort,
    caller: &Caller,
    id: &str,
) -> Result<Submission, Error> {
    let unknown = || Error::Unknown("there is no such submission".to_owned());
    let id: SubmissionId = id.parse().map_err(|rule| Error::Unknown(format!("there is no such submission: {rule}")))?;
    tracing::Span::current().record("submission", tracing::field::display(id));
    match status.submission(id).await {
        Ok(Some(submission)) if caller.may_see(&submission.manifest.user) => Ok(submission),
        Ok(_) => Err(unknown()),
        Err(error) => Err(unreadable(status, caller, Owned::Submission(id), error).await.unwrap_or_else(unknown)),
    }
}

/// Returns the error for an unreadable record; `None` if the record may belong to another user.
async fn unreadable(status: &dyn JobStatusPort, caller: &Caller, what: Owned, error: PortError) -> Option<Error> {
    if matches!(error, PortError::Unavailable(_)) || caller.role == Role::Admin {
        return Some(error.into());
    }
    match status.owner(what).await {
        Ok(owner) => owner.filter(|owner| caller.may_see(owner)).map(|_| error.into()),
        Err(error) => Some(error.into()),
    }
}
