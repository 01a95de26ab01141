//! What a request asks for, before its path is looked up: whom it addresses, how long it is, and that no token is in it.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, Version};
use percent_encoding::percent_decode_str;

use crate::answer::error::Error;

/// The most bytes of a path and its query. Proxies commonly take no more either.
pub(crate) const MAX_TARGET_BYTES: usize = 8 << 10;

/// Names under which clients put a token into an address.
const TOKEN_NAMES: [&str; 6] = ["access_token", "api_key", "api_token", "authorization", "bearer", "token"];

/// Refuses what is addressed in a way that two servers could read differently, and what tells a secret on the way.
pub(crate) fn check(request: &Request, most_bytes: Option<u64>) -> Result<(), Error> {
    check_form(request.method(), request.uri())?;
    check_host(request.headers(), request.version())?;
    if let Some(query) = request.uri().query() {
        check_query(query)?;
    }
    check_length(request.headers(), most_bytes)
}

fn check_form(method: &Method, uri: &Uri) -> Result<(), Error> {
    if let Some(bytes) = uri.path_and_query().map(|target| target.as_str().len()).filter(|len| *len > MAX_TARGET_BYTES)
    {
        return Err(Error::TargetTooLong(format!(
            "the path and query have {bytes} bytes; at most {MAX_TARGET_BYTES} are taken"
        )));
    }
    // `OPTIONS *` and `CONNECT` address no path. A client that sends a whole URL takes this server for a proxy.
    if uri.scheme().is_some() || uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err(Error::Invalid(format!(
            "the target of this {method} is no path: send the path alone, and the host in the header Host"
        )));
    }
    Ok(())
}

/// Refuses a missing, doubled or malformed header. HTTP/1.0 may do without one.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Error> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 => Ok(()),
        (None, _) => Err(Error::Invalid("the header Host is missing".to_owned())),
        (Some(_), Some(_)) => Err(Error::Invalid("the header Host is given twice".to_owned())),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(host) if !host.as_str().contains('@') && !host.host().is_empty() => Ok(()),
            _ => Err(Error::Invalid("the header Host is no name or address with an optional port".to_owned())),
        },
    }
}

/// Servers, proxies and browsers keep addresses in logs and histories.
fn check_query(query: &str) -> Result<(), Error> {
    for pair in query.split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        // The longest of them, each letter in three characters.
        if name.len() > 39 {
            continue;
        }
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        if TOKEN_NAMES.contains(&name.as_str()) {
            return Err(Error::Invalid(format!(
                "the address holds a token ({name}=…), and logs and histories keep addresses: send the header \
                 Authorization: Bearer <token>, and have this token replaced"
            )));
        }
    }
    Ok(())
}

/// Refuses a body by what its head announces, before any of it is read.
fn check_length(headers: &HeaderMap, most_bytes: Option<u64>) -> Result<(), Error> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match (announced, most_bytes) {
        (Some(bytes), Some(most)) if bytes > most => {
            Err(Error::TooLarge(format!("the body has {bytes} bytes; this path takes at most {most}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn told(request: axum::http::request::Builder) -> Result<(), String> {
        match check(&request.body(Body::empty()).unwrap(), Some(10)) {
            Ok(()) => Ok(()),
            Err(Error::Invalid(why) | Error::TargetTooLong(why) | Error::TooLarge(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn get(target: &str) -> axum::http::request::Builder {
        Request::builder().uri(target).header(HOST, "localhost:8010")
    }

    #[test]
    fn a_request_names_one_path_and_one_host() {
        for good in ["/", "/a?b=c", "/leaderboard?param.token=x&tokens=1", "//a"] {
            assert_eq!(told(get(good)), Ok(()), "{good}");
        }
        for bad in ["http://localhost:8010/", "*", "localhost:8010"] {
            assert!(told(get(bad)).unwrap_err().contains("is no path"), "{bad}");
        }
        let bare = || Request::builder().uri("/");
        assert!(told(bare()).unwrap_err().contains("missing"));
        assert_eq!(told(bare().version(Version::HTTP_10)), Ok(()));
        assert!(told(get("/").header(HOST, "localhost:8010")).unwrap_err().contains("twice"));
        for host in ["", "a b", "me@a", "a/b", "a:b:c", "a\\b", "http://a", ":80", "\u{e9}"] {
            let refused = told(bare().header(HOST, host.as_bytes()));
            assert!(refused.unwrap_err().contains("is no name or address"), "{host}");
        }
        for host in ["a", "a.example:1", "[::1]:8010", "10.0.0.1"] {
            assert_eq!(told(bare().header(HOST, host)), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_token_in_an_address_is_refused_however_it_is_written() {
        for query in ["token=hunter2", "a=b&access_token=hunter2", "TOKEN=hunter2", "%74oken=hunter2", "api_key"] {
            let why = told(get(&format!("/jobs?{query}"))).unwrap_err();
            assert!(why.contains("Authorization: Bearer") && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_head() {
        let longest = format!("/{}", "a".repeat(MAX_TARGET_BYTES - 1));
        assert_eq!(told(get(&longest)), Ok(()));
        assert!(told(get(&format!("{longest}a"))).unwrap_err().contains("8193 bytes"));
        assert_eq!(told(get("/").header(CONTENT_LENGTH, "10")), Ok(()));
        let why = told(get("/").header(CONTENT_LENGTH, "5368709120")).unwrap_err();
        assert_eq!(why, "the body has 5368709120 bytes; this path takes at most 10");
    }
}
