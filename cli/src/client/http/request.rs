//! The HTTP client: one server, one token, and small requests.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use rustls::crypto::{CryptoProvider, ring};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::address::is_loopback;
use super::answer::{ANSWER_TIMEOUT, no_answer, root_cause, within_timeout};
use super::error::ClientError;
use super::interrupt::Interrupt;
use super::pace::retry_delay;
use super::refusal::refused;
use crate::client::document::Document;
use crate::client::output::human;
use crate::client::trust::Trust;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is taken into memory; the server's own are below.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The header by which the server recognises a repeated request and does not carry it out twice.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// How often a request is sent again that got no answer.
const RETRIES: u32 = 3;

/// A connection to one server as one user.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// The server's address without a slash at its end.
    pub(super) base: String,
}

impl Client {
    pub(crate) fn new(server: &Url, token: &str, trust: &Trust) -> Result<Self, ClientError> {
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
        } else if let Some(config) = trust.config()? {
            builder = builder.tls_backend_preconfigured(config);
        }
        if is_loopback(server) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| {
            ClientError::usage(format!("no connection to {server} can be set up: {}.", root_cause(&error)))
        })?;
        let base = server.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base })
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let request = self.request(path).query(query);
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// A JSON answer with its text, for one who prints it.
    pub(crate) async fn document(&self, path: &str, query: &[(&str, String)]) -> Result<Document, ClientError> {
        let request = self.request(path).query(query).timeout(ANSWER_TIMEOUT);
        let body = self.answer(request).await?;
        let value = self.parse(&body)?;
        Ok(Document { value, text: String::from_utf8_lossy(&body).into_owned() })
    }

    /// An answer in CSV.
    pub(crate) async fn get_csv(&self, path: &str, query: &[(&str, String)]) -> Result<String, ClientError> {
        let request = self.request(path).query(query).timeout(ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| no_answer(&self.base, &error))?;
        if !response.status().is_success() {
            return Err(refused(&self.base, response).await);
        }
        let found = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = found.split(';').next().unwrap_or_default().trim();
        if response.status() != StatusCode::OK || !media_type.eq_ignore_ascii_case("text/csv") {
            let found =
                if media_type.is_empty() { "an answer without a type".to_owned() } else { human::line(media_type, 60) };
            let sentence = format!("{} answered {found} and not CSV: is it a LeadersBoard server?", self.base);
            return Err(ClientError::Away { sentence, retry_after: None });
        }
        let body = self.body(response, MAX_ANSWER_BYTES).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ClientError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// Sends what must be carried out once under its key, and sends it again under the same if no answer came: it is not
    /// known whether it was carried out then.
    pub(crate) async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        key: &str,
        interrupt: &Interrupt,
    ) -> Result<T, ClientError> {
        let mut tries = 0;
        loop {
            let request = self.post_under_key(path, key).json(body);
            match self.send(request.timeout(ANSWER_TIMEOUT)).await {
                Err(ClientError::Away { .. }) if tries < RETRIES => {
                    tokio::time::sleep(retry_delay(tries)).await;
                    interrupt.check()?;
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }

    /// A `GET` whose answer may go on for as long as it likes.
    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    /// A `POST` that the server carries out once, even if something on the way sends it again.
    pub(super) fn post_under_key(&self, path: &str, key: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_KEY, key)
    }

    pub(super) async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.answer(request).await?;
        self.parse(&body)
    }

    /// The body of an answer that is no refusal.
    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let response = request.send().await.map_err(|error| no_answer(&self.base, &error))?;
        if !response.status().is_success() {
            return Err(refused(&self.base, response).await);
        }
        self.body(response, MAX_ANSWER_BYTES).await
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        let text = events::json::with_digits_kept(&String::from_utf8_lossy(body));
        serde_json::from_str(&text).map_err(|error| {
            let problem = events::json::problem(&error);
            let sentence =
                format!("{} answered something unexpected ({problem}): is it a LeadersBoard server?", self.base);
            // What is no JSON comes from something that stands in the server's place.
            match serde_json::from_slice::<IgnoredAny>(body) {
                Ok(_) => ClientError::Refused { sentence },
                Err(_) => ClientError::Away { sentence, retry_after: None },
            }
        })
    }

    /// The whole body of an answer, if it is not too long.
    async fn body(&self, mut response: Response, max_bytes: usize) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        loop {
            let Some(chunk) = within_timeout(&self.base, response.chunk()).await? else { return Ok(body) };
            if body.len() + chunk.len() > max_bytes {
                return Err(ClientError::Away {
                    sentence: format!(
                        "{} answered with more than the {} that are read: is it a LeadersBoard server?",
                        self.base,
                        human::size(max_bytes as u64)
                    ),
                    retry_after: None,
                });
            }
            body.extend_from_slice(&chunk);
        }
    }
}

/// A key that no other request has.
pub(crate) fn request_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::super::test_server::{TestServer, speaks_once};
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
        for key in ["one", "two"] {
            let body = json!({ "submission_id": "s" });
            let accepted: Value = client.post_once("/jobs", &body, key, &Interrupt::new()).await.unwrap();
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
        let refused =
            server.client().post_once::<Value>("/jobs", &json!({}), "key", &Interrupt::new()).await.unwrap_err();
        let sentence = refused.sentence().unwrap();
        assert_eq!(sentence, "error: at most 10 jobs an hour are accepted. Try again in 12 min 34 s.");
        assert_eq!(server.requests().len(), 1);
    }

    #[tokio::test]
    async fn only_csv_is_taken_for_csv() {
        for (head, is_csv) in
            [("content-type: text/csv; charset=utf-8\r\n", true), ("content-type: text/html\r\n", false), ("", false)]
        {
            let server = TestServer::start(move |_| (200, head, "rank,user\n".to_owned())).await;
            match server.client().get_csv("/leaderboard.csv", &[]).await {
                Ok(csv) => assert!(is_csv && csv == "rank,user\n", "{head}"),
                Err(error) => assert!(!is_csv && matches!(error, ClientError::Away { .. }), "{head}: {error:?}"),
            }
        }
    }

    #[tokio::test]
    async fn no_answer_is_taken_into_memory_beyond_a_bound() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n[".to_vec();
        endless.resize(MAX_ANSWER_BYTES + 1_000, b'1');
        let (client, server) = speaks_once(endless).await;
        let error = client.get::<Value>("/jobs", &[]).await.unwrap_err().sentence().unwrap();
        assert!(error.contains("more than the 32.0 MiB"), "{error}");
        server.abort();
    }

    #[tokio::test]
    async fn another_json_is_refused_and_what_is_no_json_may_come_right() {
        let answers = async |body: &'static str| {
            let server = TestServer::start(move |_| (200, "", body.to_owned())).await;
            server.client().get::<Vec<u32>>("/jobs", &[]).await.unwrap_err()
        };
        let other = answers("{\"a\": 1}").await;
        assert!(matches!(other, ClientError::Refused { .. }), "{other:?}");
        let page = answers("<html>").await;
        assert!(matches!(page, ClientError::Away { .. }), "{page:?}");
        let sentence = page.sentence().unwrap();
        assert!(sentence.contains("answered something unexpected ("), "{sentence}");
    }
}
