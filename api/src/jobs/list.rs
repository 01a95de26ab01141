//! Many jobs, newest first, page by page.

use std::sync::Arc;

use axum::extract::State;
use events::ports::{JobQuery, JobStatusPort, Unreadable};
use events::{JobId, JobStatus};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::jobs::queue::Queues;
use crate::jobs::view::SummaryView;
use crate::openapi::errors::ListError;
use crate::openapi::texts::{Cursor, Id, Status, UserName};
use crate::request::auth::Caller;
use crate::request::page;
use crate::request::query::{Asked, Pairs, Params};

/// Which jobs to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only jobs in this state.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
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
        pairs.know_only(&["status", "user", "limit", "cursor"])?;
        let [status, user, cursor] = [pairs.filter("status")?, pairs.filter("user")?, pairs.text("cursor")?];
        Ok(Self { status, user, limit: page::read_limit(&pairs)?, cursor })
    }
}

/// A page of jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = JobList)]
pub(crate) struct ListView {
    jobs: Vec<SummaryView>,
    /// Absent if all can be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableView>,
    /// Null on the last page.
    #[schema(value_type = Option<Cursor>, required)]
    next_cursor: Option<String>,
}

/// A job whose record can't be read: neither its status nor anything else of it is known.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableJob)]
struct UnreadableView {
    #[schema(value_type = Id)]
    job_id: String,
    reason: String,
}

impl From<Unreadable<JobId>> for UnreadableView {
    fn from(Unreadable { id, reason }: Unreadable<JobId>) -> Self {
        Self { job_id: id.to_string(), reason }
    }
}

/// Lists jobs, newest first: your own, or those of all users if you are an administrator.
#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list_jobs",
    tag = "Jobs",
    params(ListQuery),
    responses((status = 200, description = "A page of jobs.", body = ListView), ListError),
)]
pub(crate) async fn list(
    State(status): State<Arc<dyn JobStatusPort>>,
    State(queues): State<Arc<Queues>>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<ListView>, Error> {
    let query = JobQuery {
        limit: page::limit(query.limit),
        user: page::whose(&caller, query.user.as_deref(), "jobs")?,
        status: query.status.as_deref().map(parse_status).transpose()?,
        cursor: page::cursor(query.cursor.as_deref())?,
    };
    let page = status.jobs(&query).await?;
    let queues = queues.of(&page.jobs).await?;
    Ok(Json(ListView {
        unreadable: page.unreadable.into_iter().map(UnreadableView::from).collect(),
        jobs: page.jobs.iter().zip(queues).map(|(job, queue)| SummaryView::of(job, queue)).collect(),
        next_cursor: page.next.map(page::show_cursor),
    }))
}

fn parse_status(text: &str) -> Result<JobStatus, Error> {
    let found = JobStatus::ALL.into_iter().find(|status| status.as_str() == text);
    found.ok_or_else(|| {
        let known = JobStatus::ALL.map(JobStatus::as_str).join(", ");
        Error::Invalid(format!("there is no status {text:?}; there are {known}"))
    })
}
