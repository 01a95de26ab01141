//! The address of a server.

use std::net::IpAddr;

use reqwest::Url;

use super::error::ClientError;

/// A base URL that paths can be appended to: with a scheme, and nothing after the path.
pub(super) fn parse_server(text: &str) -> Result<Url, ClientError> {
    let refuse = |why: &str| {
        ClientError::usage(format!(
            "the server's address {text:?} {why}; write it as https://host or http://host:8010."
        ))
    };
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&with_scheme).map_err(|error| refuse(&format!("is no URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("is neither http nor https"));
    }
    // A token is about to be sent there, so a missing scheme is guessed only where nobody can listen.
    if !text.contains("://") && !is_loopback(&url) {
        return Err(refuse("has no scheme"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("holds a user name or password, which a token replaces"));
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Whether the URL names this machine itself.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_or_refused() {
        let normal = |text| parse_server(text).map(|url| url.to_string()).map_err(|_| ());
        assert_eq!(normal("https://host/lb//"), Ok("https://host/lb".into()));
        assert_eq!(normal("http://host:8010/?a=b#c"), Ok("http://host:8010/".into()));
        assert_eq!(normal("localhost:8010"), Ok("http://localhost:8010/".into()));
        assert_eq!(normal("host:8010"), Err(()));
        assert_eq!(normal("ftp://host"), Err(()));
        assert_eq!(normal("http://me:secret@host"), Err(()));
    }

    #[test]
    fn this_machine_has_several_names() {
        let is_local = |text: &str| is_loopback(&Url::parse(text).unwrap());
        for local in ["http://localhost:1", "http://a.localhost", "http://127.9.9.9", "http://[::1]:8010"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["http://localhost.example", "http://10.0.0.1", "http://[2001:db8::1]", "http://notlocalhost"] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn a_refused_address_says_why_and_how_to_write_it() {
        for (text, why) in [
            ("ftp://host", "is neither http nor https"),
            ("host:8010", "has no scheme"),
            ("http://me:secret@host", "holds a user name or password"),
            ("http://", "is no URL"),
        ] {
            let sentence = parse_server(text).unwrap_err().sentence().unwrap();
            assert!(sentence.contains(why) && sentence.ends_with("https://host or http://host:8010."), "{sentence}");
        }
    }
}
