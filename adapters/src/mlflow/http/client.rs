//! Calls of `MLflow`'s REST API: bounded in time and size, and each failure with its meaning.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Body, Certificate, RequestBuilder, Response, Url};
use rustls::crypto::{CryptoProvider, ring};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::{Source, Watch};
use super::error::{CallError, OVERSIZE, no_answer_of_mlflow, refusal, root_cause, unanswered};
use crate::mlflow::options::{Auth, InvalidOptions, MlflowOptions, address};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bound of one call but a file's, from its first byte to the last of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the five seconds after which `MLflow`'s server closes what nobody uses: a call that meets this is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// What an answer may have. A run with as much as a `metrics.json` can hold comes to half of this.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// A connection to one server as one user.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    auth: Auth,
}

impl Client {
    pub(crate) fn new(options: &MlflowOptions) -> Result<Self, InvalidOptions> {
        // reqwest is built without a provider of its own and would panic; an error here means that
        // one is installed already.
        if CryptoProvider::get_default().is_none() {
            let _ = ring::default_provider().install_default();
        }
        let (base, account) = address(&options.uri)?;
        let auth = if options.auth == Auth::None { account } else { options.auth.clone() };
        if matches!(&auth, Auth::Token(token) if HeaderValue::from_str(token).is_err()) {
            let why = "MLFLOW_TRACKING_TOKEN holds characters that no HTTP header can carry";
            return Err(InvalidOptions(why.to_owned()));
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("leadersboard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A redirect would turn a POST into a GET, or carry the account to another address.
            .redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" || options.insecure_tls {
            // Else the machine's CA certificates are loaded, and their absence is an error.
            builder = builder.tls_certs_only([]).tls_danger_accept_invalid_certs(options.insecure_tls);
        } else if let Some(pem) = &options.ca {
            let refuse = |why: String| InvalidOptions(format!("the CA certificates for MLflow can't be read: {why}"));
            let certificates = Certificate::from_pem_bundle(pem).map_err(|error| refuse(root_cause(&error)))?;
            if certificates.is_empty() {
                return Err(refuse("there is none in the file".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| {
            InvalidOptions(format!("no connection to MLflow can be set up: {}", root_cause(&error)))
        })?;
        Ok(Self { http, base, auth })
    }

    /// The address, without any account.
    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, call: &str, query: &[(&str, &str)]) -> Result<T, CallError> {
        let request = self.as_user(self.http.get(self.call(call)).query(query));
        answer(call, request.timeout(ANSWER_TIMEOUT)).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, call: &str, body: &impl Serialize) -> Result<T, CallError> {
        let request = self.as_user(self.http.post(self.call(call)).json(body));
        answer(call, request.timeout(ANSWER_TIMEOUT)).await
    }

    /// Sends a file, however long it takes, as long as it goes on.
    pub(crate) async fn put(&self, path: &[&str], source: Source) -> Result<(), CallError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "2.0", "mlflow-artifacts", "artifacts"]).extend(path);
        }
        // Whoever waits while the server is away is told of this, and the name is nobody's business but its owner's.
        let call = "the upload of a file";
        let name = source.name().to_owned();
        let watch = Watch::new(source.bytes());
        let request = self.as_user(self.http.put(url)).header(CONTENT_LENGTH, source.bytes());
        let request = request.body(Body::wrap_stream(source.stream(watch.clone())));
        let sent = watch.unless_silent(send(call, request)).await;
        // What is wrong with the file is why the request broke off, if anything is.
        match (watch.broken(), sent) {
            (Some(why), _) => Err(why),
            (None, Some(Err(CallError::Refused { code, sentence }))) => {
                Err(CallError::Refused { code, sentence: format!("{name}: {sentence}") })
            }
            (None, Some(answer)) => answer.map(drop),
            (None, None) => Err(CallError::Away(format!("MLflow went silent during {call}."))),
        }
    }

    /// The header is marked as a secret by reqwest.
    fn as_user(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.auth {
            Auth::None => request,
            Auth::Basic { username, password } => request.basic_auth(username, Some(password)),
            Auth::Token(token) => request.bearer_auth(token),
        }
    }

    fn call(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.base.as_str().trim_end_matches('/'))
    }
}

/// Whether an address is this machine's, which no proxy stands before.
fn is_loopback(address: &Url) -> bool {
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn answer<T: DeserializeOwned>(call: &str, request: RequestBuilder) -> Result<T, CallError> {
    let body = send(call, request).await?;
    serde_json::from_slice(&body).map_err(|_| no_answer_of_mlflow(call, &body))
}

async fn send(call: &str, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
    let response = request.send().await.map_err(|error| unanswered(call, &error))?;
    let status = response.status();
    let body = whole(call, response).await?;
    if status.is_success() { Ok(body) } else { Err(refusal(call, status, &body)) }
}

async fn whole(call: &str, mut response: Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unanswered(call, &error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let why = format!("What MLflow answers to {call} is over {MAX_ANSWER_BYTES} bytes.");
            return Err(CallError::refused_as(OVERSIZE, why));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
