//! Answers in JSON.
//!
//! They are ours because axum's own bring in the feature `raw_value` of `serde_json`, under which a stranger's object with
//! a certain name is read as something else.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::answer::error::{Error, chain};

/// An answer whose body is this value.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => answer(body).into_response(),
            Err(error) => Error::Internal(chain(&error)).into_response(),
        }
    }
}

/// An answer whose body is JSON already.
pub(crate) fn answer<B: IntoResponse>(body: B) -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
}
