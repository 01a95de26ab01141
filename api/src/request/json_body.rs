//! JSON bodies of requests: read whole, within bounds, and known member by member.

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use events::json;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::answer::error::{Error, cause};
use crate::request::body::Stalled;
use crate::request::extract::media_type;

/// The most bytes a JSON body may have.
pub(crate) const MAX_JSON_BYTES: usize = 64 * 1024;

/// What a request's body may hold.
pub(crate) trait Body: Sized {
    /// The members it may have. Any other is refused by name.
    const MEMBERS: &'static [&'static str];

    fn read(members: Members) -> Result<Self, Error>;
}

/// The members of a JSON object, each with its value as it was written.
#[derive(Debug, Default)]
pub(crate) struct Members(Vec<(String, String)>);

impl Members {
    fn parse(bytes: &[u8], known: &[&str]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Invalid("the body is not UTF-8".to_owned()))?;
        let members = json::read_members(text).map_err(|error| Error::Invalid(format!("the body {error}")))?;
        for (number, (name, _)) in members.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let (shown, known) = (name.chars().take(100).collect::<String>(), known.join(" and "));
                return Err(Error::Invalid(format!("the body has an unknown field {shown:?}; known: {known}")));
            }
            if members[..number].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Invalid(format!("the body has the field {name:?} twice")));
            }
        }
        Ok(Self(members.into_iter().map(|(name, text)| (name, text.to_owned())).collect()))
    }

    /// A member's value as it was written; `None` if it is absent or null.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str()).filter(|text| *text != "null")
    }

    /// A member that must be a string.
    pub(crate) fn string(&self, name: &str) -> Result<String, Error> {
        match self.value(name)? {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(Error::Invalid(format!("{name} must be a string, not {}", json::kind_of(&other)))),
            None => Err(Error::Invalid(format!("the field {name} is missing"))),
        }
    }

    /// A member that must be true or false; `None` if it is absent or null.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::Bool(is_so)) => Ok(Some(is_so)),
            Some(other) => Err(Error::Invalid(format!("{name} must be true or false, not {}", json::kind_of(&other)))),
        }
    }

    fn value(&self, name: &str) -> Result<Option<Value>, Error> {
        let read = |text| {
            serde_json::from_str(text).map_err(|error| Error::Invalid(format!("{name}: {}", json::problem(&error))))
        };
        self.text(name).map(read).transpose()
    }
}

/// A JSON body of at most [`MAX_JSON_BYTES`].
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: Body, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let content_type = media_type(request.headers());
        if content_type != "application/json" {
            return Err(Error::MediaType(format!("the body must be application/json, not {content_type:?}")));
        }
        let bytes = read_body(request.into_body()).await?;
        Members::parse(&bytes, T::MEMBERS).and_then(T::read).map(Self)
    }
}

/// As [`JsonBody`], for a request that may have no body at all, and for whose type nobody asks.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: Body, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let bytes = read_body(request.into_body()).await?;
        let members = if bytes.is_empty() { Members::default() } else { Members::parse(&bytes, T::MEMBERS)? };
        T::read(members).map(Self)
    }
}

async fn read_body(body: HttpBody) -> Result<Bytes, Error> {
    match Limited::new(body, MAX_JSON_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::TooLarge(format!("the body is larger than {MAX_JSON_BYTES} bytes")))
        }
        Err(error) if cause::<Stalled>(&*error).is_some() => Err(Error::Stalled),
        Err(_) => Err(Error::Invalid("the body was cut off".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &[u8]) -> String {
        match Members::parse(body, &["a", "b"]) {
            Err(Error::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_mistake_in_a_body_is_named_in_words_of_ours() {
        assert_eq!(refusal(b"[\"x\", {}]"), "the body must be a JSON object, not a list");
        assert_eq!(refusal(b"\"x\""), "the body must be a JSON object, not a string");
        assert_eq!(refusal(br#"{"a": 1, "c": 2}"#), "the body has an unknown field \"c\"; known: a and b");
        assert_eq!(refusal(br#"{"a": 1, "\u0061": 2}"#), "the body has the field \"a\" twice");
        assert_eq!(refusal(b"{\"a\": \"\xff\"}"), "the body is not UTF-8");
        assert!(refusal(b"{\"a\"").starts_with("the body is not JSON: "));
        assert!(refusal(br#"{"$serde_json::private::RawValue": "{}"}"#).contains("reserved name"));
        let members = Members::parse(br#"{"a": 3, "b": null}"#, &["a", "b", "c"]).unwrap();
        let Err(Error::Invalid(why)) = members.string("a") else { panic!("a number was taken") };
        assert_eq!(why, "a must be a string, not a number");
        let Err(Error::Invalid(why)) = members.string("b") else { panic!("null was taken") };
        assert_eq!(why, "the field b is missing");
        let Err(Error::Invalid(why)) = members.boolean("a") else { panic!("a number was taken") };
        assert_eq!((why.as_str(), members.text("c")), ("a must be true or false, not a number", None));
    }
}
