//! Answers in JSON.
//!
//! The type is ours because axum's own turns on the feature `raw_value` of `serde_json`. With that feature, an object
//! with a certain member name is read as something else.

use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::answer::error::{Error, chain};
use crate::answer::json_text::json_text;

/// An answer whose body is this value.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => json_text(body).into_response(),
            Err(error) => Error::Internal(chain(&error)).into_response(),
        }
    }
}
