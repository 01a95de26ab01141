//! Takes the caller from the header `Authorization`.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::authenticator::Authenticator;
use super::caller::Caller;
use crate::answer::error::Error;

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let token = bearer(&parts.headers)?;
        let caller = Arc::<Authenticator>::from_ref(state).caller(token, parts).await?;
        tracing::Span::current().record("user", caller.user.as_str());
        Ok(caller)
    }
}

/// The token of the header `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (header, second) = (all.next(), all.next());
    let header = header.ok_or(Error::Unauthenticated("the header Authorization: Bearer <token> is missing"))?;
    if second.is_some() {
        return Err(Error::Unauthenticated("the Authorization header is there more than once"));
    }
    let scheme_and_token = header.to_str().ok().and_then(|text| text.split_once(' '));
    scheme_and_token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Error::Unauthenticated("the Authorization header is not of the form: Bearer <token>"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_read_from_one_header_of_the_known_form() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            bearer(&headers).map(str::to_owned).map_err(|error| format!("{error:?}"))
        };
        assert_eq!(read(&["Bearer abc"]).unwrap(), "abc");
        assert_eq!(read(&["bEARER   abc "]).unwrap(), "abc");
        for (values, why) in [
            (&[][..], "missing"),
            (&["abc"], "form"),
            (&["Basic abc"], "form"),
            (&["Bearer"], "form"),
            (&["Bearer abc", "Bearer abc"], "more than once"),
        ] {
            let refused = read(values).unwrap_err();
            assert!(refused.contains(why), "{values:?}: {refused}");
        }
    }
}
