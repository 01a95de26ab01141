//! The address of a client, directly or as a trusted proxy tells it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::http::{Extensions, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The networks of the proxies before the server. Only they may tell for whom they speak.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A list of networks that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProxies(String);

impl FromStr for TrustedProxies {
    type Err = InvalidProxies;

    /// Reads networks such as `10.0.0.0/8` and addresses, separated by commas.
    fn from_str(text: &str) -> Result<Self, InvalidProxies> {
        let entries = text.split(',').map(str::trim);
        // A blank list is as good as none.
        let entries = entries.filter(|entry| !(entry.is_empty() && text.trim().is_empty()));
        entries.map(network).collect::<Result<_, _>>().map(Self)
    }
}

fn network(entry: &str) -> Result<IpNet, InvalidProxies> {
    let refuse = |why: String| Err(InvalidProxies(why));
    let net = match (entry.parse::<IpNet>(), entry.parse::<IpAddr>()) {
        (Ok(net), _) => net,
        (_, Ok(address)) => address.to_canonical().into(),
        _ => return refuse(format!("{entry:?} is no network: give one such as 10.0.0.0/8, or an address")),
    };
    if net.prefix_len() == 0 {
        return refuse(format!("{entry} is every address, so any client could claim any address: name the proxies"));
    }
    if net.trunc() != net {
        let (net, address) = (net.trunc(), net.addr());
        return refuse(format!("{entry} is not the beginning of a network: write {net} for all of it, or {address}"));
    }
    Ok(net)
}

impl TrustedProxies {
    /// The address of the client of a request: the peer or, if that is a trusted proxy, the last address in
    /// `X-Forwarded-For` that is not one.
    pub(crate) fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
        let peer = extensions.get::<Peer>();
        let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |Peer(address)| address.ip().to_canonical());
        self.address(peer, headers)
    }

    /// Whether the client speaks HTTPS to the outermost proxy, as the proxy tells it: the last `X-Forwarded-Proto`.
    /// `None` if no trusted proxy tells it.
    #[must_use]
    pub fn is_https(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<bool> {
        if !self.trusts(peer.ip().to_canonical()) {
            return None;
        }
        let scheme = last_to_first(headers, X_FORWARDED_PROTO).next().flatten()?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" => Some(true),
            "http" => Some(false),
            _ => None,
        }
    }

    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let mut told = last_to_first(headers, X_FORWARDED_FOR);
        while self.trusts(client) {
            // What is no address was not written by a proxy that can be relied on.
            match told.next().flatten().and_then(address) {
                Some(before) => client = before,
                None => break,
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// The entries of a header that is a list, from the last to the first; `None` for one that is no text.
fn last_to_first(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Option<&str>> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    values.into_iter().rev().flat_map(|value| match value.to_str() {
        Ok(text) => text.rsplit(',').map(|entry| Some(entry.trim())).collect::<Vec<_>>(),
        Err(_) => vec![None],
    })
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies: TrustedProxies = "10.0.0.0/8, 192.0.2.7, fd00::/8".parse().unwrap();
        let mut extensions = Extensions::new();
        extensions.insert(Peer(peer.parse().unwrap()));
        proxies.client(&extensions, &headers(&X_FORWARDED_FOR, forwarded)).to_string()
    }

    #[test]
    fn only_trusted_proxies_tell_for_whom_they_speak() {
        for (peer, forwarded, expected) in [
            ("203.0.113.9:1", &[][..], "203.0.113.9"),
            ("203.0.113.9:1", &["198.51.100.1"], "203.0.113.9"),
            ("10.1.2.3:1", &["198.51.100.1"], "198.51.100.1"),
            ("[::ffff:10.1.2.3]:1", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.7:1", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.8:1", &["198.51.100.1"], "192.0.2.8"),
            ("[fd00::1]:1", &["2001:db8::1"], "2001:db8::1"),
            // What the client itself sent stands further left.
            ("10.1.2.3:1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3:1", &["1.1.1.1", "198.51.100.1,10.9.9.9"], "198.51.100.1"),
            ("10.1.2.3:1", &["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
            ("10.1.2.3:1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.1.2.3:1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.1.2.3:1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.1.2.3:1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3:1", &[], "10.1.2.3"),
            ("10.1.2.3:1", &[""], "10.1.2.3"),
            ("10.1.2.3:1", &["198.51.100.1, unknown"], "10.1.2.3"),
            ("10.1.2.3:1", &["198.51.100.1, 10.9.9.9, _hidden, 10.8.8.8"], "10.8.8.8"),
            ("10.1.2.3:1", &["198.51.100.1, \u{e9}"], "10.1.2.3"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
        let none = TrustedProxies::default();
        assert_eq!(none.client(&Extensions::new(), &HeaderMap::new()).to_string(), "0.0.0.0");
    }

    #[test]
    fn a_trusted_proxy_tells_the_scheme() {
        let proxies: TrustedProxies = "10.0.0.0/8".parse().unwrap();
        let is_https =
            |peer: &str, values: &[&str]| proxies.is_https(peer.parse().unwrap(), &headers(&X_FORWARDED_PROTO, values));
        assert_eq!(is_https("10.0.0.1:1", &["https"]), Some(true));
        assert_eq!(is_https("10.0.0.1:1", &["https, HTTP"]), Some(false));
        assert_eq!(is_https("10.0.0.1:1", &["wss"]), None);
        assert_eq!(is_https("10.0.0.1:1", &[]), None);
        assert_eq!(is_https("192.0.2.1:1", &["https"]), None);
    }

    #[test]
    fn a_list_that_trusts_too_much_or_is_none_is_refused() {
        let refusal = |text: &str| text.parse::<TrustedProxies>().unwrap_err().to_string();
        assert!(refusal("0.0.0.0/0").contains("is every address"));
        assert!(refusal("::/0").contains("is every address"));
        assert_eq!(
            refusal("10.0.0.1/8"),
            "10.0.0.1/8 is not the beginning of a network: write 10.0.0.0/8 for all of it, or 10.0.0.1"
        );
        for bad in ["proxy", "10.0.0.0/33", "10.0.0", "10.0.0.0/8,", ",", "10.0.0.0/8 10.1.0.0/16", "*"] {
            assert!(refusal(bad).contains("is no network"), "{bad}: {}", refusal(bad));
        }
        assert_eq!(" ".parse::<TrustedProxies>(), Ok(TrustedProxies::default()));
    }
}
