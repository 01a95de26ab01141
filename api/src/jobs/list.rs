//! Many jobs, newest first, page by page.

use std::sync::Arc;

use axum::extract::State;
use events::ports::{JobQuery, JobStatusPort, Unreadable};
use events::{JobId, JobStatus};
use serde::Serialize;

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::jobs::queue::Queues;
use crate::jobs::view::SummaryView;
use crate::request::auth::Caller;
use crate::request::page;
use crate::request::query::{Asked, Pairs, Params};

/// Which jobs to show.
pub(crate) struct ListQuery {
    status: Option<String>,
    user: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Asked for ListQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&["status", "user", "limit", "cursor"])?;
        let [status, user, cursor] = [pairs.filter("status")?, pairs.filter("user")?, pairs.text("cursor")?];
        Ok(Self { status, user, limit: page::read_limit(&pairs)?, cursor })
    }
}

#[derive(Serialize)]
pub(crate) struct ListView {
    jobs: Vec<SummaryView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableView>,
    next_cursor: Option<String>,
}

/// A job whose record can't be read: neither its status nor anything else of it is known.
#[derive(Serialize)]
struct UnreadableView {
    job_id: String,
    reason: String,
}

impl From<Unreadable<JobId>> for UnreadableView {
    fn from(Unreadable { id, reason }: Unreadable<JobId>) -> Self {
        Self { job_id: id.to_string(), reason }
    }
}

/// `GET /jobs`: a user's own; an admin's are everybody's.
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
