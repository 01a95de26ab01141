//! The HTTP client: one base URL, one token, and every error as one sentence.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode, Url, multipart};
use rustls::crypto::{CryptoProvider, ring};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::connect::is_loopback;
use super::error::ClientError;
use super::human;
use super::pace::retry_delay;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound of one small request. An upload has none: how long it may take is the network's matter.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// As much of an unexpected answer as a sentence can carry.
const MAX_DETAIL_CHARS: usize = 1_000;
/// By this a server knows a request that is sent again, and does not carry it out twice.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// How often a request is sent again that got no answer.
const RETRIES: u32 = 3;

/// A file on its way here.
pub(crate) struct Download<'a> {
    client: &'a Client,
    response: Response,
    /// It begins where it was asked to, not at the file's beginning.
    pub(crate) is_rest: bool,
}

impl Download<'_> {
    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| self.client.no_answer(&error)),
            Err(_) => Err(self.client.silent()),
        }
    }
}

/// A connection to one server as one user.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(crate) fn new(server: &Url, token: &str) -> Result<Self, ClientError> {
        // reqwest is built without a provider of its own and would panic; an error here means that
        // one is installed already.
        if CryptoProvider::get_default().is_none() {
            let _ = ring::default_provider().install_default();
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| ClientError::usage("the token holds characters that no HTTP header can carry."))?;
        bearer.set_sensitive(true);
        let mut builder = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .user_agent(concat!("leadersboard/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would turn a POST into a GET or carry the token to another address.
            .redirect(reqwest::redirect::Policy::none());
        if server.scheme() == "http" {
            // Else the machine's CA certificates are loaded, and their absence is an error.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(server) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| {
            ClientError::usage(format!("no connection to {server} can be set up: {}.", root_cause(&error)))
        })?;
        Ok(Self { http, base: server.as_str().trim_end_matches('/').to_owned() })
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query);
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// An answer that is no JSON.
    pub(crate) async fn get_text(&self, path: &str, query: &[(&str, String)]) -> Result<String, ClientError> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query).timeout(ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        response.text().await.map_err(|error| self.no_answer(&error))
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// Sends what must be carried out once, and where no answer came sends it again under the same key: it is not known
    /// whether it was carried out then.
    pub(crate) async fn post_once<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        let key = request_key();
        let mut tries = 0;
        loop {
            let request = self.http.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_KEY, &key).json(body);
            match self.send(request.timeout(ANSWER_TIMEOUT)).await {
                Err(ClientError::Away { .. }) if tries < RETRIES => {
                    tokio::time::sleep(retry_delay(tries)).await;
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Sends a form, whose files are read as they are sent: once, under a key in case that something between here and the
    /// server sends it again.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        form: multipart::Form,
    ) -> Result<T, ClientError> {
        let request = self.http.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_KEY, request_key());
        self.send(request.multipart(form)).await
    }

    /// Asks for a file from a byte on, as long as it is still the one of this tag. However long it takes to come, only
    /// its silences are bounded.
    pub(crate) async fn download(&self, path: &str, from: u64, etag: &str) -> Result<Download<'_>, ClientError> {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, etag);
        }
        let response = match tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await {
            Ok(response) => response.map_err(|error| self.no_answer(&error))?,
            Err(_) => return Err(self.silent()),
        };
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let is_rest = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok(Download { client: self, response, is_rest })
    }

    /// A `GET` whose answer may go on for as long as it likes.
    pub(super) fn request(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(response).await);
        }
        let body = response.bytes().await.map_err(|error| self.no_answer(&error))?;
        let text = events::json::with_digits_kept(&String::from_utf8_lossy(&body));
        serde_json::from_str(&text).map_err(|error| ClientError::Refused {
            sentence: format!("{} answered something unexpected ({error}): is it a LeadersBoard server?", self.base),
        })
    }

    pub(super) fn no_answer(&self, error: &reqwest::Error) -> ClientError {
        let cause = root_cause(error);
        let base = &self.base;
        let sentence = if error.is_connect() {
            let local = Url::parse(base).is_ok_and(|url| is_loopback(&url));
            let advice = if local { " Is `leadersboard up` running?" } else { "" };
            format!("no connection to {base}: {cause}.{advice}")
        } else if error.is_timeout() {
            return self.silent();
        } else {
            format!("the connection to {base} broke: {cause}.")
        };
        ClientError::Away { sentence, retry_after: None }
    }

    /// The server is there and says nothing.
    pub(super) fn silent(&self) -> ClientError {
        let sentence = format!("{} did not answer within {}.", self.base, human::duration(ANSWER_TIMEOUT));
        ClientError::Away { sentence, retry_after: None }
    }

    pub(super) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let location = header(LOCATION).map(str::to_owned);
        let body = response.text().await.unwrap_or_default();
        let detail = detail(status, &body);
        let sentence = match status {
            StatusCode::UNAUTHORIZED => {
                format!("{detail} Give the token of {} with LEADERSBOARD_TOKEN or --token.", self.base)
            }
            status if status.is_redirection() => format!(
                "{} points to another address{}: give that one with --server.",
                self.base,
                location.map(|location| format!(", {}", human::plain(&location))).unwrap_or_default()
            ),
            _ => match retry_after {
                Some(wait) if !wait.is_zero() => {
                    format!("{detail} Try again in {}.", human::duration(wait))
                }
                Some(_) | None => detail,
            },
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => ClientError::Limited { sentence, retry_after },
            status if status.is_server_error() => ClientError::Away { sentence, retry_after },
            _ => ClientError::Refused { sentence },
        }
    }
}

/// A key that no other request has.
fn request_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The server's own sentence, or what can be said when a proxy answered in its place.
fn detail(status: StatusCode, body: &str) -> String {
    let told = serde_json::from_str::<Value>(body).ok().and_then(|body| {
        body.get("detail").map(|detail| detail.as_str().map_or_else(|| detail.to_string(), str::to_owned))
    });
    match told {
        Some(told) => {
            let told: String = human::plain(&told).chars().take(MAX_DETAIL_CHARS).collect();
            if told.ends_with(['.', '!', '?']) { told } else { format!("{told}.") }
        }
        None => format!("the server answered {status}."),
    }
}

/// reqwest's own text repeats the URL and hides the reason, which is the innermost source.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::super::test_server::TestServer;
    use super::*;

    fn key(head: &str) -> &str {
        head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("a key")
    }

    #[tokio::test]
    async fn what_got_no_answer_is_sent_again_under_the_same_key() {
        let asked = AtomicUsize::new(0);
        let server = TestServer::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => (503, "retry-after: 1\r\n", json!({ "detail": "Redis is away" }).to_string()),
            _ => (202, "", json!({ "job_id": "j" }).to_string()),
        })
        .await;
        let client = server.client();
        for _ in 0..2 {
            let accepted: Value = client.post_once("/jobs", &json!({ "submission_id": "s" })).await.unwrap();
            assert_eq!(accepted["job_id"], "j");
        }
        let requests = server.requests();
        let keys: Vec<&str> = requests.iter().map(|request| key(&request.head)).collect();
        assert_eq!(keys.len(), 3);
        assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
        assert_eq!(requests[0].body, requests[1].body);
    }

    #[tokio::test]
    async fn a_limit_is_told_with_when_to_try_again_and_is_not_asked_again() {
        let body = json!({ "detail": "at most 10 jobs an hour are accepted", "code": "jobs_per_hour" }).to_string();
        let server = TestServer::start(move |_| (429, "retry-after: 754\r\n", body.clone())).await;
        let refused = server.client().post_once::<Value>("/jobs", &json!({})).await.unwrap_err();
        let sentence = refused.sentence().unwrap();
        assert_eq!(sentence, "error: at most 10 jobs an hour are accepted. Try again in 12 min 34 s.");
        assert_eq!(server.requests().len(), 1);
    }
}
