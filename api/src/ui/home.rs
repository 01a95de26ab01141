//! The front door: a message for programs, a page for browsers.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, VARY};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::json_answer::Json;
use crate::openapi::errors::AnyError;

const PAGE: &str = include_str!("index.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'none'";

/// A short introduction of the server.
#[derive(Serialize, ToSchema)]
pub(crate) struct Message {
    message: &'static str,
}

/// Introduces the server: to a browser with a page, to a program with JSON.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "home",
    tag = "Server",
    security(()),
    responses(
        (status = 200, description = "A short introduction.", content((Message = "application/json"), (String = "text/html"))),
        AnyError,
    ),
)]
pub(crate) async fn home(headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let headers = [(CONTENT_SECURITY_POLICY, POLICY), (VARY, "accept")];
        return (headers, Html(PAGE)).into_response();
    }
    let message = "LeadersBoard takes ML submissions, runs them on GPU workers and ranks the results.";
    ([(VARY, "accept")], Json(Message { message })).into_response()
}
