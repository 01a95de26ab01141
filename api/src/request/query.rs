//! Query strings. Each call names its parameters.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use crate::answer::error::Error;

/// What a call's query string may hold.
pub(crate) trait Asked: Sized {
    fn read(pairs: Pairs) -> Result<Self, Error>;
}

/// The parameters as written.
#[derive(Debug, Default)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Pairs {
    /// Refuses unknown parameters. Without this, a mistyped filter would seem to match everything.
    pub(crate) fn know_only(&self, known: &[&str]) -> Result<(), Error> {
        let Some((name, _)) = self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
        let shown: String = name.chars().take(100).collect();
        Err(Error::Invalid(match known {
            [] => format!("there is no query parameter {shown:?}: this call has none"),
            known => format!("there is no query parameter {shown:?}; known: {}", known.join(", ")),
        }))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// A parameter as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::Invalid(format!("{name} is given twice"))),
            (value, None) => Ok(value.cloned()),
        }
    }

    /// A filter as text. An empty filter is refused, because it would seem to match everything.
    pub(crate) fn filter(&self, name: &str) -> Result<Option<String>, Error> {
        match self.text(name)? {
            Some(text) if text.is_empty() => {
                Err(Error::Invalid(format!("{name} is empty: give a value, or leave it out")))
            }
            text => Ok(text),
        }
    }

    /// A parameter that must be a whole number of at least `least`.
    pub(crate) fn number<T: FromStr + PartialOrd + Display>(&self, name: &str, least: T) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = whole_number::<T>(&text).filter(|number| *number >= least);
        let refuse = || Error::Invalid(format!("{name} must be a whole number from {least} on, not {text:?}"));
        number.ok_or_else(refuse).map(Some)
    }

    /// A parameter that must be `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let refuse = |_| Error::Invalid(format!("{name} must be true or false, not {text:?}"));
        text.parse().map_err(refuse).map(Some)
    }
}

/// Reads a whole number as people write it: Rust would read a sign as well.
pub(crate) fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: Asked, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => T::read(Pairs(pairs)).map(Self),
            Err(_) => Err(Error::Invalid("the query string can't be read".to_owned())),
        }
    }
}

/// For a call without parameters.
pub(crate) struct NoParams;

impl Asked for NoParams {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        pairs.know_only(&[]).map(|()| Self)
    }
}

/// For a call that reads its parameters itself.
impl Asked for Vec<(String, String)> {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        Ok(pairs.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        Pairs(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn refusal<T: std::fmt::Debug>(read: Result<T, Error>) -> String {
        match read {
            Err(Error::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_mistake_in_a_query_is_named() {
        let asked = pairs(&[("limit", "x"), ("stauts", "running"), ("user", "a"), ("user", "b"), ("attempt", "0")]);
        assert_eq!(
            refusal(asked.know_only(&["limit", "user", "attempt"])),
            "there is no query parameter \"stauts\"; known: limit, user, attempt"
        );
        assert_eq!(refusal(asked.know_only(&[])), "there is no query parameter \"limit\": this call has none");
        assert_eq!(refusal(asked.text("user")), "user is given twice");
        assert_eq!(
            refusal(pairs(&[("status", "")]).filter("status")),
            "status is empty: give a value, or leave it out"
        );
        assert_eq!(refusal(asked.filter("user")), "user is given twice");
        assert_eq!(asked.filter("limit").unwrap(), Some("x".to_owned()));
        assert_eq!(refusal(asked.number("limit", 1_usize)), "limit must be a whole number from 1 on, not \"x\"");
        assert_eq!(refusal(asked.number("attempt", 1_u32)), "attempt must be a whole number from 1 on, not \"0\"");
        assert!(pairs(&[("limit", "+1")]).number("limit", 1_usize).is_err());
        assert_eq!((asked.number("tail", 0_u64).unwrap(), asked.text("limit").unwrap()), (None, Some("x".to_owned())));
        assert_eq!(refusal(pairs(&[("raw", "1")]).flag("raw")), "raw must be true or false, not \"1\"");
        assert_eq!(pairs(&[("raw", "true")]).flag("raw").unwrap(), Some(true));
        assert!(pairs(&[]).know_only(&[]).is_ok());
    }
}
