//! Submissions as they were taken in: many, newest first, or one with its files.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use events::Submission;
use events::ports::{StorageError, SubmissionQuery};
use events::time::to_rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Api;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::{Params, VisibleSubmission};
use crate::page;

/// Which submissions to show.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    user: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ListView {
    submissions: Vec<SummaryView>,
    next_cursor: Option<String>,
}

/// One submission among many.
#[derive(Serialize)]
struct SummaryView {
    submission_id: String,
    user_id: String,
    entrypoint: String,
    config_file: String,
    file_count: u64,
    bytes: u64,
    /// The SHA-256 of `metadata.json`, which holds that of each file.
    digest: String,
    created_at: String,
}

impl SummaryView {
    fn of(submission: &Submission) -> Self {
        let manifest = &submission.manifest;
        Self {
            submission_id: submission.id.to_string(),
            user_id: manifest.user.to_string(),
            entrypoint: manifest.entrypoint.clone(),
            config_file: manifest.config_file.clone(),
            file_count: manifest.files,
            bytes: manifest.bytes,
            digest: manifest.digest.clone(),
            created_at: to_rfc3339(submission.created_at),
        }
    }
}

/// One submission with all that was said of it.
#[derive(Serialize)]
pub(crate) struct SubmissionView {
    #[serde(flatten)]
    summary: SummaryView,
    /// The content of `metadata.json`, as it is stored.
    metadata: Box<RawValue>,
}

/// `GET /submissions`: a user's own; an admin's are everybody's.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<ListView>, Error> {
    let query = SubmissionQuery {
        limit: page::limit(query.limit)?,
        user: page::whose(&caller, query.user.as_deref(), "submissions")?,
        cursor: page::cursor(query.cursor.as_deref())?,
    };
    let page = api.status.submissions(&query).await?;
    Ok(Json(ListView {
        submissions: page.submissions.iter().map(SummaryView::of).collect(),
        next_cursor: page.next.map(page::show_cursor),
    }))
}

/// `GET /submissions/{id}`
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    VisibleSubmission(submission): VisibleSubmission,
) -> Result<Json<SubmissionView>, Error> {
    let stored = match api.storage.metadata(submission.id).await {
        Err(StorageError::Missing(_)) => Err(Error::Unknown("the submission's files are no longer kept".to_owned())),
        stored => stored.map_err(Error::from),
    }?;
    let metadata = serde_json::from_slice(&stored)
        .map_err(|error| Error::Internal(format!("metadata.json of {} is no JSON: {error}", submission.id)))?;
    Ok(Json(SubmissionView { summary: SummaryView::of(&submission), metadata }))
}
