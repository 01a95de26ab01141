//! The provider's settings.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

/// The provider, and which of its tokens are accepted.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// Its address, exactly as its tokens name it.
    pub issuer: String,
    /// For whom a token must be.
    pub audience: String,
    /// The claim with the user's name, such as `sub`.
    pub user_claim: String,
    /// Which claim makes a user an admin: `claim=value` or `claim`; `None` if none does.
    pub admin_claim: Option<String>,
    /// The page as a client of the provider, if people sign in there.
    pub client: Option<OidcClient>,
}

/// A client of the provider.
#[derive(Clone)]
pub struct OidcClient {
    /// Its name there.
    pub id: String,
    /// Its secret; `None` if it is a public client.
    pub secret: Option<String>,
}

/// Without the secret.
impl fmt::Debug for OidcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcClient").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A setting that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOidcOptions(pub String);

/// Reads an address of the provider: https, or http on this machine.
pub(super) fn address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not an address such as https://accounts.example.com")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password");
    }
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    if !is_safe || url.host_str().is_none_or(str::is_empty) {
        return Err("is not an https address; http is accepted for an address of this machine only");
    }
    Ok(url)
}

/// Whether an address is this machine's.
pub(super) fn is_loopback(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads the issuer.
pub(super) fn issuer(text: &str) -> Result<Url, InvalidOidcOptions> {
    let url = address(text).and_then(|url| {
        let is_bare = url.query().is_none() && url.fragment().is_none();
        if is_bare { Ok(url) } else { Err("has a '?' or a '#'") }
    });
    url.map_err(|why| InvalidOidcOptions(format!("OIDC_ISSUER {why}")))
}
