//! Listing submissions, newest first, and showing one with its files.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use events::ports::{JobStatusPort, StorageError, StoragePort, SubmissionQuery, Unreadable};
use events::time::to_rfc3339;
use events::{Submission, SubmissionId, json};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::answer::spliced::Spliced;
use crate::openapi::errors::{ListError, ObjectError};
use crate::openapi::texts::{Cursor, Id, Sha256, Time, UserName};
use crate::request::auth::Caller;
use crate::request::extract::VisibleSubmission;
use crate::request::page;
use crate::request::query::{Asked, NoParams, Pairs, Params};

/// Which submissions to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only objects of this user. Only administrators may name another user.
    #[param(value_type = Option<UserName>)]
    user: Option<String>,
    /// At most this many entries. A page may be short or empty and still have a `next_cursor`.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<Cursor>)]
    cursor: Option<String>,
}

impl Asked for ListQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&["user", "limit", "cursor"])?;
        Ok(Self { user: pairs.filter("user")?, limit: page::read_limit(&pairs)?, cursor: pairs.text("cursor")? })
    }
}

/// A page of submissions.
#[derive(Serialize, ToSchema)]
#[schema(as = SubmissionList)]
pub(crate) struct ListView {
    submissions: Vec<SummaryView>,
    /// Absent if all can be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableView>,
    /// Null on the last page.
    #[schema(value_type = Option<Cursor>, required)]
    next_cursor: Option<String>,
}

/// One submission among many.
#[derive(Serialize, ToSchema)]
#[schema(as = SubmissionSummary)]
struct SummaryView {
    #[schema(value_type = Id)]
    submission_id: String,
    #[schema(value_type = UserName)]
    user_id: String,
    #[schema(example = "main.py")]
    entrypoint: String,
    #[schema(example = "config.yaml")]
    config_file: String,
    /// How many files were uploaded.
    file_count: u64,
    /// Their size in all.
    bytes: u64,
    /// The SHA-256 of `metadata.json`, which holds that of each file.
    #[schema(value_type = Sha256)]
    digest: String,
    #[schema(value_type = Time)]
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
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableSubmission)]
struct UnreadableView {
    #[schema(value_type = Id)]
    submission_id: String,
    reason: String,
}

impl From<Unreadable<SubmissionId>> for UnreadableView {
    fn from(Unreadable { id, reason }: Unreadable<SubmissionId>) -> Self {
        Self { submission_id: id.to_string(), reason }
    }
}

/// A whole submission, as `Spliced` writes it.
#[derive(Serialize, ToSchema)]
#[schema(as = Submission)]
pub(crate) struct SubmissionDocument {
    #[serde(flatten)]
    details: SubmissionView,
    /// The content of `metadata.json`: what the client gave, with `user_id`, `entrypoint`, `config_file` and the list of
    /// `files`. Null only if it can't be read.
    #[schema(required)]
    metadata: Option<Map<String, Value>>,
}

/// One submission except `metadata.json`, which is shown beside it as it is stored.
#[derive(Serialize, ToSchema)]
#[schema(as = SubmissionDetails)]
pub(crate) struct SubmissionView {
    #[serde(flatten)]
    summary: SummaryView,
    /// What of it can't be read, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unreadable: BTreeMap<&'static str, String>,
}

/// Lists submissions, newest first: your own, or those of all users if you are an administrator.
#[utoipa::path(
    get,
    path = "/submissions",
    operation_id = "list_submissions",
    tag = "Submissions",
    params(ListQuery),
    responses((status = 200, description = "A page of submissions.", body = ListView), ListError),
)]
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

/// Shows a submission with its metadata.
#[utoipa::path(
    get,
    path = "/submissions/{id}",
    operation_id = "show_submission",
    tag = "Submissions",
    params(("id" = Id, Path, description = "The id of the submission.")),
    responses((status = 200, description = "The submission.", body = SubmissionDocument), ObjectError),
)]
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
