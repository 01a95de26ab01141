//! The HTTP client: one base URL, one token, and every error as one sentence.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{RequestBuilder, Response, StatusCode, Url, multipart};
use rustls::crypto::{CryptoProvider, ring};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use tokio::time::Instant;

use super::connect::is_loopback;
use super::error::ClientError;
use super::interrupt::Interrupt;
use super::pace::retry_delay;
use crate::client::document::Document;
use crate::client::output::human;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound of one small request, and of each silence in a long answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an upload may stand still, or go unanswered once it was sent. How long it takes is the network's matter.
const UPLOAD_SILENCE: Duration = Duration::from_mins(2);
/// The longest answer that is taken into memory; the server's own are below.
const MAX_ANSWER_BYTES: usize = 32 << 20;
/// As much of a refusal is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// As much of an unexpected answer as a sentence can carry.
const MAX_DETAIL_CHARS: usize = 1_000;
/// By this a server knows a request that is sent again, and does not carry it out twice.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// As much of a request's id as is shown.
const MAX_REQUEST_ID_CHARS: usize = 100;
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
    upload_silence: Duration,
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
        let base = server.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base, upload_silence: UPLOAD_SILENCE })
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query);
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// A JSON answer with its text, for one who prints it.
    pub(crate) async fn document(&self, path: &str, query: &[(&str, String)]) -> Result<Document, ClientError> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query).timeout(ANSWER_TIMEOUT);
        let body = self.answer(request).await?;
        let value = self.parse(&body)?;
        Ok(Document { value, text: String::from_utf8_lossy(&body).into_owned() })
    }

    /// An answer in CSV.
    pub(crate) async fn get_csv(&self, path: &str, query: &[(&str, String)]) -> Result<String, ClientError> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query).timeout(ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
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
            let request = self.http.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_KEY, key).json(body);
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

    /// Sends a form, whose files are read as they are sent: once, under a key in case that something between here and the
    /// server sends it again. Whatever is read of the files counts as progress.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        form: multipart::Form,
        progress: &Progress,
    ) -> Result<T, ClientError> {
        let request = self.http.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_KEY, request_key());
        let mut answer = pin!(self.send(request.multipart(form)));
        loop {
            let left = self.upload_silence.saturating_sub(progress.stands_still_for());
            if left.is_zero() {
                let silent = self.silent_for(self.upload_silence, "took no more of the upload and did not answer");
                return Err(silent.with_advice("Whether it kept the files: leadersboard submissions list"));
            }
            tokio::select! {
                answer = &mut answer => return answer,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn with_upload_silence(mut self, silence: Duration) -> Self {
        self.upload_silence = silence;
        self
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
    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.answer(request).await?;
        self.parse(&body)
    }

    /// The body of an answer that is no refusal.
    async fn answer(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let response = request.send().await.map_err(|error| self.no_answer(&error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
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
            let chunk = tokio::time::timeout(ANSWER_TIMEOUT, response.chunk()).await.map_err(|_| self.silent())?;
            let Some(chunk) = chunk.map_err(|error| self.no_answer(&error))? else { return Ok(body) };
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

    pub(crate) fn no_answer(&self, error: &reqwest::Error) -> ClientError {
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
    pub(crate) fn silent(&self) -> ClientError {
        self.silent_for(ANSWER_TIMEOUT, "did not answer")
    }

    fn silent_for(&self, time: Duration, what: &str) -> ClientError {
        let sentence = format!("{} {what} within {}.", self.base, human::duration(time));
        ClientError::Away { sentence, retry_after: None }
    }

    /// As much of a refusal as comes at once and is needed.
    async fn refusal_body(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk[..chunk.len().min(MAX_REFUSAL_BYTES - body.len())]);
                if body.len() == MAX_REFUSAL_BYTES {
                    break;
                }
            }
        };
        // What came until then has to do.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, read).await;
        body
    }

    pub(crate) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let location = header(LOCATION).map(str::to_owned);
        let request_id =
            header(HeaderName::from_static("x-request-id")).map(|id| human::line(id, MAX_REQUEST_ID_CHARS));
        let body = self.refusal_body(response).await;
        let told = serde_json::from_slice::<Value>(&body).ok();
        let detail = detail(status, told.as_ref());
        let code = told.as_ref().and_then(|body| body.get("code")?.as_str()).unwrap_or_default().to_owned();
        let sentence = match status {
            StatusCode::UNAUTHORIZED => {
                format!("{detail} Give the token of {} with LEADERSBOARD_TOKEN or --token.", self.base)
            }
            status if status.is_redirection() => format!(
                "{} points to another address{}: give that one with --server.",
                self.base,
                location.map(|location| format!(", {}", human::plain(&location))).unwrap_or_default()
            ),
            StatusCode::INTERNAL_SERVER_ERROR if request_id.is_some() => {
                format!("{detail} The id of this request: {}.", request_id.unwrap_or_default())
            }
            _ => match retry_after {
                Some(wait) if !wait.is_zero() => with_wait(&detail, wait),
                Some(_) | None => detail,
            },
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => ClientError::Limited { sentence, code, retry_after },
            status if status.is_server_error() => ClientError::Away { sentence, retry_after },
            _ => ClientError::Refused { sentence },
        }
    }
}

/// The detail with the time after which to try again. A detail that says more than "shortly" says it itself.
fn with_wait(detail: &str, wait: Duration) -> String {
    let begin = detail.to_ascii_lowercase().find("try again");
    let (before, advice) = detail.split_at(begin.unwrap_or(detail.len()));
    if !matches!(advice.to_ascii_lowercase().as_str(), "" | "try again shortly." | "try again later.") {
        return detail.to_owned();
    }
    let before = before.trim_end_matches([' ', ';', ':', ',']);
    let end = if before.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{before}{end} Try again in {}.", human::duration(wait))
}

/// When an upload last got on.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Instant>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(crate) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn stands_still_for(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A key that no other request has.
pub(crate) fn request_key() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The server's own sentence, or what can be said when a proxy answered in its place.
fn detail(status: StatusCode, body: Option<&Value>) -> String {
    let detail = body.and_then(|body| body.get("detail"));
    let told = detail.map(|detail| detail.as_str().map_or_else(|| detail.to_string(), str::to_owned));
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

    #[test]
    fn when_to_try_again_is_told_once() {
        let wait = Duration::from_secs(2);
        for (detail, told) in [
            ("error: Redis does not answer; try again shortly.", "error: Redis does not answer. Try again in 2 s."),
            ("The server is busy. Try again shortly.", "The server is busy. Try again in 2 s."),
            ("Redis is full: try again later.", "Redis is full. Try again in 2 s."),
            ("At most 10 jobs an hour.", "At most 10 jobs an hour. Try again in 2 s."),
            (
                "Limit: 1. Try again when one of your jobs has ended.",
                "Limit: 1. Try again when one of your jobs has ended.",
            ),
        ] {
            assert_eq!(with_wait(detail, wait), told);
        }
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
    async fn a_broken_server_is_told_with_the_id_by_which_its_log_has_the_request() {
        let server =
            TestServer::start(|_| (500, "x-request-id: 0af7\r\n", "{\"detail\": \"broken\"}".to_owned())).await;
        let sentence = server.client().get::<Value>("/me", &[]).await.unwrap_err().sentence().unwrap();
        assert_eq!(sentence, "error: broken. The id of this request: 0af7.");
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

    /// Takes whatever is sent, then says this much and nothing more.
    async fn speaks_once(said: Vec<u8>) -> (Client, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (mut reader, mut writer) = stream.into_split();
                let said = said.clone();
                open.push(tokio::spawn(async move {
                    let asked = tokio::io::AsyncReadExt::read_u8(&mut reader).await;
                    let written = asked.map(drop).and(tokio::io::AsyncWriteExt::write_all(&mut writer, &said).await);
                    let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
                    drop((written, writer));
                }));
            }
        });
        (Client::new(&url.parse().unwrap(), "t").unwrap(), task)
    }

    #[tokio::test]
    async fn an_upload_that_is_taken_and_not_answered_is_given_up() {
        let (client, server) = speaks_once(vec![]).await;
        let client = client.with_upload_silence(Duration::from_millis(200));
        let form = multipart::Form::new().text("a", "b");
        let error = client.upload::<Value>("/submissions", form, &Progress::new()).await.unwrap_err();
        let sentence = error.sentence().unwrap();
        assert!(matches!(error, ClientError::Away { .. }) && sentence.contains("did not answer within"), "{sentence}");
        server.abort();
    }

    #[tokio::test]
    async fn no_answer_is_taken_into_memory_beyond_a_bound() {
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n[".to_vec();
        endless.resize(MAX_ANSWER_BYTES + 1_000, b'1');
        let (client, server) = speaks_once(endless).await;
        let error = client.get::<Value>("/jobs", &[]).await.unwrap_err().sentence().unwrap();
        assert!(error.contains("more than the 32.0 MiB"), "{error}");
        server.abort();
        let mut refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        refusal.resize(MAX_REFUSAL_BYTES + 1_000, b'1');
        let (client, server) = speaks_once(refusal).await;
        let error = client.get::<Value>("/jobs", &[]).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
        server.abort();
    }
}
