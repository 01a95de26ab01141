//! The server's answers about submissions, as far as the commands read them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::http::error::ClientError;

/// One entry of `GET /submissions`, and the head of `GET /submissions/{id}`.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "named as in the server's answer")]
pub(super) struct Submission {
    pub(super) submission_id: String,
    pub(super) user_id: String,
    pub(super) entrypoint: String,
    pub(super) config_file: String,
    pub(super) file_count: u64,
    pub(super) bytes: u64,
    pub(super) digest: String,
    pub(super) created_at: String,
}

/// A part of an answer that is itself kept for programs.
pub(super) fn parse<T: DeserializeOwned>(document: &Value) -> Result<T, ClientError> {
    T::deserialize(document).map_err(|_| ClientError::unknown_form("the submission"))
}
