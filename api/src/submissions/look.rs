//! Listing submissions, newest first, and showing one with its files.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use events::ports::{JobStatusPort, StorageError, StoragePort, SubmissionQuery, Unreadable};
use events::time::to_rfc3339;
use events::{Submission, SubmissionId, json};
use serde::Serialize;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::answer::spliced::Spliced;
use crate::request::auth::Caller;
use crate::request::extract::VisibleSubmission;
use crate::request::page;
use crate::request::query::{Asked, NoParams, Pairs, Params};

/// Which submissions to show.
pub(crate) struct ListQuery {
    user: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Asked for ListQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&["user", "limit", "cursor"])?;
        Ok(Self { user: pairs.filter("user")?, limit: page::read_limit(&pairs)?, cursor: pairs.text("cursor")? })
    }
}

#[derive(Serialize)]
pub(crate) struct ListView {
    submissions: Vec<SummaryView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableView>,
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

/// A submission whose record can't be read.
#[derive(Serialize)]
struct UnreadableView {
    submission_id: String,
    reason: String,
}

impl From<Unreadable<SubmissionId>> for UnreadableView {
    fn from(Unreadable { id, reason }: Unreadable<SubmissionId>) -> Self {
        Self { submission_id: id.to_string(), reason }
    }
}

/// One submission; `metadata.json` is shown beside it as it is stored.
#[derive(Serialize)]
pub(crate) struct SubmissionView {
    #[serde(flatten)]
    summary: SummaryView,
    /// What of it can't be read, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unreadable: BTreeMap<&'static str, String>,
}

/// `GET /submissions`: a user's own; an admin's are everybody's.
pub(crate) async fn list(
    State(status): State<Arc<dyn JobStatusPort>>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<ListView>, Error> {
    let query = SubmissionQuery {
        limit: page::limit(query.limit),
        user: page::whose(&caller, query.user.as_deref(), "submissions")?,
        cursor: page::cursor(query.cursor.as_deref())?,
    };
    let page = status.submissions(&query).await?;
    Ok(Json(ListView {
        unreadable: page.unreadable.into_iter().map(UnreadableView::from).collect(),
        submissions: page.submissions.iter().map(SummaryView::of).collect(),
        next_cursor: page.next.map(page::show_cursor),
    }))
}

/// `GET /submissions/{id}`
pub(crate) async fn show(
    State(storage): State<Arc<dyn StoragePort>>,
    VisibleSubmission(submission): VisibleSubmission,
    _: Params<NoParams>,
) -> Result<Spliced<SubmissionView>, Error> {
    let stored = match storage.metadata(submission.id).await {
        Err(StorageError::Missing(_)) => Err(Error::Unknown("the submission's files are no longer kept".to_owned())),
        stored => stored.map_err(Error::from),
    }?;
    let text = String::from_utf8(stored.to_vec()).map_err(|_| "is not UTF-8".to_owned());
    let checked = text.and_then(|text| json::read(&text).map(|_| text).map_err(|error| error.to_string()));
    let (text, unreadable) = match checked {
        Ok(text) => (text, BTreeMap::new()),
        Err(why) => ("null".to_owned(), BTreeMap::from([("metadata", format!("metadata.json {why}"))])),
    };
    Ok(Spliced { object: SubmissionView { summary: SummaryView::of(&submission), unreadable }, name: "metadata", text })
}
