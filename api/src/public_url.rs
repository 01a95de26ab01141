//! The address of the server for people and browsers, which may differ from the address that it listens on.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use axum::http::Uri;

/// `PUBLIC_URL`: an http or https address with, at most, a path before the server's own paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    /// Empty, or a path that begins with a slash and does not end with one.
    prefix: String,
}

/// An address that can't be the public one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPublicUrl(&'static str);

impl PublicUrl {
    /// Scheme, host and, unless it is the scheme's own, the port, as browsers send it in `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether browsers reach the server by https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

/// Without a slash at its end.
impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

impl FromStr for PublicUrl {
    type Err = InvalidPublicUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPublicUrl> {
        let text = text.trim();
        // A URI as HTTP knows it has no fragment.
        if text.contains(['?', '#', '\\']) {
            return Err(InvalidPublicUrl("it has a '?', a '#' or a '\\': give scheme, host and, at most, a path"));
        }
        let uri: Uri = text.parse().map_err(|_| InvalidPublicUrl("it is no address such as https://lb.example"))?;
        let default_port = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            _ => return Err(InvalidPublicUrl("it does not begin with https:// or http://")),
        };
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let Some(authority) = authority.filter(|authority| !authority.host().is_empty()) else {
            return Err(InvalidPublicUrl("it has no host"));
        };
        if authority.as_str().contains('@') {
            return Err(InvalidPublicUrl("it has a user or a password: everybody sees this address"));
        }
        let host = host(authority.host()).ok_or(InvalidPublicUrl("its host is no name and no address"))?;
        let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        let port = match after_host.strip_prefix(':') {
            None => default_port,
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => return Err(InvalidPublicUrl("its port is not a number from 1 to 65535")),
            },
        };
        let port = if port == default_port { String::new() } else { format!(":{port}") };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        if prefix.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            return Err(InvalidPublicUrl("its path has an empty part, '.' or '..'"));
        }
        Ok(Self { origin: format!("{scheme}://{host}{port}"), prefix })
    }
}

/// A host as browsers write it.
fn host(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    is_name.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_origin_that_browsers_send() {
        for (text, origin, shown) in [
            ("https://lb.example", "https://lb.example", "https://lb.example"),
            ("HTTPS://LB.Example:443/", "https://lb.example", "https://lb.example"),
            ("https://lb.example:8443/board/", "https://lb.example:8443", "https://lb.example:8443/board"),
            ("http://127.0.0.1:80/a/b", "http://127.0.0.1", "http://127.0.0.1/a/b"),
            ("http://[2001:DB8:0::1]:8010", "http://[2001:db8::1]:8010", "http://[2001:db8::1]:8010"),
            (" https://lb.example ", "https://lb.example", "https://lb.example"),
        ] {
            let url: PublicUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.origin(), url.to_string().as_str()), (origin, shown), "{text}");
            assert_eq!(url.is_secure(), origin.starts_with("https:"));
        }
    }

    #[test]
    fn what_is_no_public_address_is_refused_and_not_repeated() {
        for bad in [
            "",
            "lb.example",
            "/board",
            "//lb.example",
            "ftp://lb.example",
            "https://",
            "https:///board",
            "https://ann:s3cret@lb.example",
            "https://lb.example?s3cret",
            "https://lb.example/#s3cret",
            "https://lb.example/a//b",
            "https://lb.example/../b",
            "https://lb.example:0",
            "https://lb.example:99999",
            "https://lb.example:",
            "https://lb example",
            "https://lb.example\\@evil",
            "https://lb,example",
            "https://[::1",
            "https://b\u{fc}cher.example",
            "*",
        ] {
            let refused = bad.parse::<PublicUrl>().map(|url| url.to_string());
            assert!(refused.as_ref().is_err_and(|error| !error.to_string().contains("s3cret")), "{bad}: {refused:?}");
        }
    }
}
