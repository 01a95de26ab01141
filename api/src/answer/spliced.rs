//! Answers that contain JSON exactly as it was written.

use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::answer::error::{Error, chain};
use crate::answer::json_text::json_text;

/// An object with one additional member. The member's value is JSON text that was checked before.
pub(crate) struct Spliced<T> {
    /// The object.
    pub(crate) object: T,
    /// The name of the member.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) text: String,
}

impl<T: Serialize> IntoResponse for Spliced<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.object) {
            Ok(object) => json_text(splice(&object, self.name, &self.text)).into_response(),
            Err(error) => Error::Internal(chain(&error)).into_response(),
        }
    }
}

fn splice(object: &str, name: &str, text: &str) -> String {
    let members = object.strip_suffix('}').unwrap_or(object);
    let comma = if members == "{" { "" } else { "," };
    format!("{members}{comma}\"{name}\":{text}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_digits() {
        assert_eq!(splice(r#"{"a":1}"#, "b", "{\"c\": 1.10}"), r#"{"a":1,"b":{"c": 1.10}}"#);
        assert_eq!(splice("{}", "b", "123456789012345678901234567890"), r#"{"b":123456789012345678901234567890}"#);
    }
}
