//! The client of an S3 server, made from the standard `AWS_*` variables.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use reqwest::{Certificate, Url};
use rustls::crypto::{CryptoProvider, ring};

use super::trouble::root_cause;
use super::url::{Bucket, InvalidStorage};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may be silent: while it is sent a part, before it answers, and within an answer.
const SILENCE: Duration = Duration::from_secs(150);
/// Below what servers and proxies keep a connection for that nobody uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a call is repeated that failed, and for how long; longer outages are for the caller to wait out.
const RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(30);

/// How an S3 server is spoken to.
#[derive(Clone, Default)]
pub struct S3Settings {
    /// The `AWS_*` variables that are not empty.
    variables: Vec<(String, String)>,
    /// CA certificates beside the system's, as PEM.
    ca: Option<Vec<u8>>,
}

/// Without the values, which hold secrets.
impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.variables.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl S3Settings {
    /// Takes the `AWS_*` variables from an environment; an empty one counts as unset. `read` reads the file that
    /// `AWS_CA_BUNDLE` names.
    ///
    /// # Errors
    /// If that file can't be read.
    pub fn of(
        environment: impl IntoIterator<Item = (String, String)>,
        read: impl FnOnce(&str) -> std::io::Result<Vec<u8>>,
    ) -> Result<Self, InvalidStorage> {
        let is_ours = |(name, value): &(String, String)| name.starts_with("AWS_") && !value.is_empty();
        let variables = environment.into_iter().filter(is_ours).collect();
        let mut settings = Self { variables, ca: None };
        if let Some(path) = settings.get("AWS_CA_BUNDLE") {
            let pem =
                read(path).map_err(|error| InvalidStorage(format!("AWS_CA_BUNDLE {path:?} can't be read: {error}")))?;
            settings.ca = Some(pem);
        }
        Ok(settings)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The address of the server, if it is not AWS's own.
    pub(super) fn endpoint(&self) -> Option<&str> {
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| self.get(name))
    }

    /// Whether there is anything by which the server may know who asks, beside what a cloud gives its own machines.
    pub(super) fn has_credentials(&self) -> bool {
        const NAMES: [&str; 5] = [
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_SKIP_SIGNATURE",
        ];
        NAMES.iter().any(|name| self.get(name).is_some())
    }

    /// Whether `http` is allowed to addresses of other machines. A typo refuses, rather than turning it on or off.
    fn allows_http(&self) -> Result<bool, InvalidStorage> {
        match self.get("AWS_ALLOW_HTTP").unwrap_or("false") {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(InvalidStorage("AWS_ALLOW_HTTP must be true or false".to_owned())),
        }
    }

    /// Checks an address that requests are sent to, and gives it.
    fn address(&self, name: &str, text: &str) -> Result<Url, InvalidStorage> {
        let refuse = |why: &str| Err(InvalidStorage(format!("{name} {why}")));
        let Ok(url) = Url::parse(text) else { return refuse("is not an address such as https://s3.example:9000") };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return refuse("must begin with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not hold an account: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("has a '?' or a '#': it is the address of a server and, at most, a path");
        }
        if url.scheme() == "http" && !is_loopback(&url) && !self.allows_http()? {
            return refuse(
                "is http, and other machines could read and change what is stored: give an https address, or set \
                 AWS_ALLOW_HTTP=true on a network that you trust",
            );
        }
        Ok(url)
    }
}

/// Makes the client of a bucket.
///
/// # Errors
/// If a setting can't be used.
pub(super) fn connect(bucket: &Bucket, settings: &S3Settings) -> Result<AmazonS3, InvalidStorage> {
    settings.allows_http()?;
    let endpoint = settings.endpoint().map(|text| settings.address("AWS_ENDPOINT_URL", text)).transpose()?;
    let sts = settings.get("AWS_ENDPOINT_URL_STS");
    sts.map(|text| settings.address("AWS_ENDPOINT_URL_STS", text)).transpose()?;
    let http = http_client(endpoint.as_ref(), settings)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.name)
        .with_http_connector(Connector(http))
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
        });
    for (name, value) in &settings.variables {
        let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
        if !matches!(key, AmazonS3ConfigKey::Client(_) | AmazonS3ConfigKey::Bucket) {
            builder = builder.with_config(key, value);
        }
    }
    // Its errors name variables, not their values.
    builder.build().map_err(|error| InvalidStorage(format!("the settings of S3 can't be used: {error}")))
}

fn http_client(endpoint: Option<&Url>, settings: &S3Settings) -> Result<reqwest::Client, InvalidStorage> {
    // reqwest is built without a provider of its own and would panic; an error here means that one is installed.
    if CryptoProvider::get_default().is_none() {
        let _ = ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("leadersboard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE)
        .pool_idle_timeout(IDLE_TIMEOUT)
        // A signature holds for one address.
        .redirect(reqwest::redirect::Policy::none());
    let is_plain = endpoint.is_some_and(|url| url.scheme() == "http");
    if let Some(pem) = &settings.ca {
        let refuse = |why: String| InvalidStorage(format!("the CA certificates of AWS_CA_BUNDLE can't be read: {why}"));
        let certificates = Certificate::from_pem_bundle(pem).map_err(|error| refuse(root_cause(&error)))?;
        if certificates.is_empty() {
            return Err(refuse("there is none in the file".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    } else if is_plain && settings.get("AWS_WEB_IDENTITY_TOKEN_FILE").is_none() {
        // Else the machine's CA certificates are loaded, and their absence is an error.
        builder = builder.tls_certs_only([]);
    }
    if endpoint.is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|error| InvalidStorage(format!("no connection to S3 can be set up: {}", root_cause(&error))))
}

/// Whether an address is this machine's.
fn is_loopback(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Gives every part of the library the same client.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: &str = "board";

    fn try_connect(variables: &[(&str, &str)]) -> Result<AmazonS3, InvalidStorage> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = S3Settings::of(variables, |path| Ok(path.as_bytes().to_vec()))?;
        assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
        connect(&Bucket { name: BUCKET.to_owned(), prefix: String::new() }, &settings)
    }

    #[test]
    fn plain_http_is_for_this_machine_or_by_an_explicit_word() {
        let elsewhere = ("AWS_ENDPOINT_URL", "http://minio.example:9000");
        for endpoint in ["http://127.0.0.1:9000", "http://localhost:1", "http://[::1]:9", "https://s3.example/x"] {
            try_connect(&[("AWS_ENDPOINT_URL", endpoint), ("AWS_CA_BUNDLE", "")]).unwrap();
        }
        try_connect(&[elsewhere, ("AWS_ALLOW_HTTP", "true")]).unwrap();
        for allow in ["false", "", "0"] {
            let refused = try_connect(&[elsewhere, ("AWS_ALLOW_HTTP", allow)]).unwrap_err().to_string();
            assert!(refused.contains("set AWS_ALLOW_HTTP=true"), "{refused}");
        }
        for typo in ["yes", "True ", "ture"] {
            let refused = try_connect(&[elsewhere, ("AWS_ALLOW_HTTP", typo)]).unwrap_err().to_string();
            assert_eq!(refused, "AWS_ALLOW_HTTP must be true or false");
        }
        let sts = ("AWS_ENDPOINT_URL_STS", "http://sts.example");
        try_connect(&[("AWS_ENDPOINT_URL", "https://s3.example"), sts]).unwrap_err();
    }

    #[test]
    fn what_can_not_be_used_is_named_without_its_value() {
        for (variable, value) in [
            ("AWS_ENDPOINT_URL", "s3.secret.example"),
            ("AWS_ENDPOINT_URL_S3", "ftp://secret"),
            ("AWS_ENDPOINT_URL", "https://user:secret@s3.example"),
            ("AWS_ENDPOINT_URL", "https://s3.example?secret"),
            ("AWS_CA_BUNDLE", "secret"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ] {
            let refused = try_connect(&[(variable, value)]).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{variable}: {refused}");
        }
        let keys = [("AWS_ACCESS_KEY_ID", "secret"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let connected = try_connect(&[&keys[..], &[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")]].concat()).unwrap();
        assert!(!format!("{connected}").contains("secret"));
    }
}
