//! Many jobs, newest first, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use events::JobStatus;
use events::ports::JobQuery;
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::auth::Caller;
use crate::error::Error;
use crate::extract::Params;
use crate::jobs::queue::queues;
use crate::jobs::view::SummaryView;
use crate::page;

/// Which jobs to show.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    status: Option<String>,
    user: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct ListView {
    jobs: Vec<SummaryView>,
    next_cursor: Option<String>,
}

/// `GET /jobs`: a user's own; an admin's are everybody's.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Params(query): Params<ListQuery>,
) -> Result<Json<ListView>, Error> {
    let query = JobQuery {
        limit: page::limit(query.limit)?,
        user: page::whose(&caller, query.user.as_deref(), "jobs")?,
        status: page::given(query.status.as_deref()).map(parse_status).transpose()?,
        cursor: page::cursor(query.cursor.as_deref())?,
    };
    let page = api.status.jobs(&query).await?;
    let queues = queues(&api, &page.jobs).await?;
    Ok(Json(ListView {
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
