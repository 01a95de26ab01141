//! The answer to whoever has reached a limit: which, and when there is room again.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use events::ports::JobQuery;
use events::time::to_rfc3339;
use events::{JobId, JobStatus, LimitReached, UserId};
use serde::Serialize;

use crate::Api;
use crate::error::Error;

#[derive(Serialize)]
struct Body {
    detail: String,
    code: &'static str,
    limit: u64,
    remaining: u64,
    /// Null where only the end of a job makes room.
    reset_at: Option<String>,
    /// Those of the user's jobs that have the slots, as far as they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    jobs: Vec<String>,
}

/// How many jobs an answer names.
const NAMED: usize = 3;

/// 429, with `Retry-After` in seconds.
pub(crate) fn answer(reached: &LimitReached, jobs: &[JobId]) -> Response {
    let body = Body {
        detail: detail(reached, jobs),
        code: reached.code(),
        limit: reached.limit(),
        remaining: reached.remaining(),
        reset_at: reached.resets_at().map(to_rfc3339),
        jobs: jobs.iter().map(JobId::to_string).collect(),
    };
    let retry_after = reached.retry_after().as_secs().max(1).to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, retry_after)], Json(body)).into_response()
}

fn detail(reached: &LimitReached, jobs: &[JobId]) -> String {
    let jobs: Vec<String> = jobs.iter().map(JobId::to_string).collect();
    match jobs.as_slice() {
        [] => reached.to_string(),
        [job] => format!("{reached}; job {job} is running"),
        _ => format!("{reached}; the jobs {} are running", jobs.join(", ")),
    }
}

/// Names the running jobs of the user who has no slot left. That they can't be read does not change the answer.
pub(crate) async fn with_jobs(api: &Api, user: &UserId, error: Error) -> Error {
    let Error::Limited(reached @ LimitReached::Running { .. }, _) = error else { return error };
    let query = JobQuery { user: Some(user.clone()), status: Some(JobStatus::Running), cursor: None, limit: NAMED };
    let running = api.status.jobs(&query).await.map(|page| page.jobs).unwrap_or_default();
    Error::Limited(reached, running.iter().map(|job| job.id).collect())
}
