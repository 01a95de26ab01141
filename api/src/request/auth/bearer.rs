//! Reads the header `Authorization`.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::answer::error::Error;

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
