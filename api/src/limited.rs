//! The answer to whoever has reached a limit: which, and when there is room again.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use events::LimitReached;
use events::time::to_rfc3339;
use serde::Serialize;

use crate::json_answer::Json;

#[derive(Serialize)]
struct Body {
    detail: String,
    code: &'static str,
    limit: u64,
    remaining: u64,
    /// Null where only the end of a job makes room.
    reset_at: Option<String>,
}

/// 429, with `Retry-After` in seconds.
pub(crate) fn answer(reached: &LimitReached) -> Response {
    let body = Body {
        detail: reached.to_string(),
        code: reached.code(),
        limit: reached.limit(),
        remaining: reached.remaining(),
        reset_at: reached.resets_at().map(to_rfc3339),
    };
    let retry_after = reached.retry_after().as_secs().max(1).to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, retry_after)], Json(body)).into_response()
}
