//! Answers whose body is JSON text.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// Returns an answer whose body is JSON already.
pub(crate) fn json_text<B: IntoResponse>(body: B) -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
}
