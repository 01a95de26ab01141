//! The answer to a user who has reached a limit: which limit, and when there is room again.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use events::time::to_rfc3339;
use events::{JobId, LimitReached};
use serde::Serialize;

use crate::answer::json_answer::Json;

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
