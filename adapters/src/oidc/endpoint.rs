//! Calls of a provider, bounded in time and size.

use std::time::Duration;

use events::json::read_object;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode, Url};
use rustls::crypto::{CryptoProvider, ring};
use serde_json::{Map, Value};

use super::options::{InvalidOidcOptions, address, is_loopback};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bound of one call, from its first byte to the last of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer.
const MAX_ANSWER_BYTES: usize = 512 << 10;

/// What a form does not hold as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Speaks to a provider.
#[derive(Debug)]
pub(super) struct Endpoint {
    http: reqwest::Client,
}

impl Endpoint {
    /// For a provider at this address.
    pub(super) fn new(issuer: &Url) -> Result<Self, InvalidOidcOptions> {
        // reqwest is built without a provider of its own and would panic.
        if CryptoProvider::get_default().is_none() {
            let _ = ring::default_provider().install_default();
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("leadersboard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // The provider says where its keys are; nobody else does.
            .redirect(reqwest::redirect::Policy::none());
        if issuer.scheme() == "http" {
            // Else the machine's CA certificates are loaded, and their absence is an error.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(issuer) {
            builder = builder.no_proxy();
        }
        let http = builder.build();
        let http =
            http.map_err(|error| InvalidOidcOptions(format!("OIDC_ISSUER can't be spoken to: {}", root(&error))))?;
        Ok(Self { http })
    }

    /// Gets a document from an address that the provider gave.
    pub(super) async fn get(&self, text: &str) -> Result<Map<String, Value>, String> {
        let url = provided(text)?;
        match answer(self.http.get(url.clone()), &url).await? {
            (status, body) if status.is_success() => body,
            (status, _) => Err(format!("{} answers {status}", shown(&url))),
        }
    }

    /// Sends a form to an address that the provider gave, and returns the status and the document. `account` is a user and
    /// a password.
    pub(super) async fn post(
        &self,
        text: &str,
        account: Option<(&str, &str)>,
        fields: &[(&str, &str)],
    ) -> Result<(StatusCode, Map<String, Value>), String> {
        let url = provided(text)?;
        let request = self.http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(encoded(fields));
        let request = match account {
            Some((user, password)) => request.basic_auth(encoded_word(user), Some(encoded_word(password))),
            None => request,
        };
        let (status, body) = answer(request, &url).await?;
        Ok((status, body?))
    }
}

/// An address that the provider gave.
pub(super) fn provided(text: &str) -> Result<Url, String> {
    address(text).map_err(|why| format!("an address of the provider {why}"))
}

/// The fields of a form.
fn encoded(fields: &[(&str, &str)]) -> String {
    let encoded = |(name, value): &(&str, &str)| format!("{}={}", encoded_word(name), encoded_word(value));
    fields.iter().map(encoded).collect::<Vec<_>>().join("&")
}

fn encoded_word(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string()
}

/// An answer's status, and its document or why that can't be read.
async fn answer(
    request: RequestBuilder,
    url: &Url,
) -> Result<(StatusCode, Result<Map<String, Value>, String>), String> {
    let call = shown(url);
    let unanswered = |error: reqwest::Error| format!("{call} does not answer: {}", root(&error));
    let mut response = request.send().await.map_err(unanswered)?;
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("the answer of {call} has more than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    let document = match std::str::from_utf8(&body) {
        Ok(text) => read_object(text).map_err(|error| format!("the answer of {call} {error}")),
        Err(_) => Err(format!("the answer of {call} is not UTF-8")),
    };
    Ok((response.status(), document))
}

/// An address without its query, which may hold secrets.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The innermost cause, without the address that the outer ones repeat.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
