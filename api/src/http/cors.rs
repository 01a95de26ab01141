//! Which pages of other origins may read answers.

use std::str::FromStr;
use std::time::Duration;

use axum::http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
};
use axum::http::{Method, Uri};
use tower_http::cors::CorsLayer;

use crate::request::id::REQUEST_ID;

/// How long a browser may remember what it was told of a path.
const REMEMBERED: Duration = Duration::from_mins(10);

/// The origins of such pages. There are none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

/// An origin that can't be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin:?} {why}")]
pub struct OriginError {
    origin: String,
    why: &'static str,
}

impl FromStr for Origins {
    type Err = OriginError;

    /// Reads origins that are separated by commas, as browsers write them: `https://board.example.org`.
    fn from_str(text: &str) -> Result<Self, OriginError> {
        text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(read).collect::<Result<_, _>>().map(Self)
    }
}

fn read(origin: &str) -> Result<HeaderValue, OriginError> {
    let refuse = |why| Err(OriginError { origin: origin.to_owned(), why });
    if origin == "*" {
        return refuse("would let every page in: name each origin");
    }
    let Ok(uri) = origin.parse::<Uri>() else { return refuse("is no origin such as https://board.example.org") };
    let Some((scheme, authority)) = uri.scheme_str().zip(uri.authority()) else {
        return refuse("is no origin such as https://board.example.org");
    };
    // A browser compares letter by letter with what it would send itself.
    if !["http", "https"].contains(&scheme) || authority.as_str().contains('@') {
        return refuse("is neither http://host nor https://host");
    }
    let is_default = matches!((scheme, authority.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    if origin != format!("{scheme}://{authority}") || origin.to_ascii_lowercase() != origin || is_default {
        return refuse("is not as browsers write it: lower case, no path, no slash at the end, no default port");
    }
    HeaderValue::from_str(origin).or_else(|_| refuse("holds characters that no header can carry"))
}

impl Origins {
    /// The layer that lets these pages in; `None` if there are none.
    ///
    /// No credentials: a token is in a header that the page sets itself, and there are no cookies to send along.
    pub(crate) fn layer(self) -> Option<CorsLayer> {
        if self.0.is_empty() {
            return None;
        }
        let asked = [
            ACCEPT,
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            IF_RANGE,
            RANGE,
            REQUEST_ID,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("traceparent"),
        ];
        let told =
            [ACCEPT_RANGES, ALLOW, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER, REQUEST_ID];
        Some(
            CorsLayer::new()
                .allow_origin(self.0)
                .allow_methods([Method::GET, Method::HEAD, Method::POST])
                .allow_headers(asked)
                .expose_headers(told)
                .max_age(REMEMBERED),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_exact_and_never_all() {
        let read = |text: &str| text.parse::<Origins>().map(|origins| origins.0.len());
        assert_eq!(read(""), Ok(0));
        assert_eq!(read("https://a.example, http://localhost:5173 ,"), Ok(2));
        for bad in [
            "*",
            "null",
            "a.example",
            "https://",
            "ftp://a.example",
            "https://a.example/",
            "https://a.example/path",
            "https://A.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://me@a.example",
            "https://*.example/",
            "https://a.example b",
            "https://a.example,*",
        ] {
            let error = read(bad).expect_err(bad).to_string();
            assert!(error.contains('"'), "{error}");
        }
    }
}
