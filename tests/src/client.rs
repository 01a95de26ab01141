//! A client of the HTTP interface.

use std::sync::Once;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::wait::{scaled, until};

/// A client that sends one user's token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

/// An answer: its status, when to ask again, and, where it is JSON, its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The seconds of its `Retry-After`.
    pub retry_after: Option<u64>,
    /// The body; null where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// The sentence of a refusal.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_else(|| panic!("no detail in {self:?}"))
    }
}

impl Client {
    /// A client of `server` with this token.
    ///
    /// # Panics
    /// Never: the options are constant.
    #[must_use]
    pub fn new(server: &str, token: &str) -> Self {
        Self { http: http_client(), server: server.to_owned(), token: token.to_owned() }
    }

    /// The address it speaks to.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// If no answer comes.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = answer.bytes().await.expect("a body");
        Answer { status, retry_after, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` of a JSON document.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST /submissions` of a form.
    pub async fn upload(&self, form: Form) -> Answer {
        self.send(self.request(Method::POST, "/submissions").multipart(form)).await
    }

    /// Uploads a program with an empty config, and gives the submission's id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn submit(&self, program: &str) -> String {
        let answer = self.upload(files(&[("main.py", program), ("config.yaml", "seed: 1\n")])).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["submission_id"].as_str().expect("an id").to_owned()
    }

    /// Makes a job of a submission, and gives its id.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn enqueue(&self, submission: &str, config: Value) -> String {
        let answer = self.post("/jobs", &json!({ "submission_id": submission, "config": config })).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED.as_u16(), "{answer:?}");
        answer.body["job_id"].as_str().expect("an id").to_owned()
    }

    /// Uploads a program and makes a job of it.
    pub async fn run(&self, program: &str) -> String {
        let submission = self.submit(program).await;
        self.enqueue(&submission, json!({})).await
    }

    /// Waits until a job has this status, and gives all of it.
    ///
    /// # Panics
    /// If it has another for a minute.
    pub async fn wait_for(&self, job: &str, status: &str) -> Value {
        let mut last = Value::Null;
        until(&format!("job {job} is {status}"), Duration::from_mins(1), async || {
            last = self.get(&format!("/jobs/{job}")).await.body;
            let ended = ["completed", "failed", "cancelled"].contains(&last["status"].as_str().unwrap_or(""));
            assert!(last["status"] == status || !ended, "the job ended otherwise: {last:#}");
            (last["status"] == status).then(|| last.clone())
        })
        .await
    }
}

/// What speaks HTTP, with a bound on every call.
///
/// # Panics
/// Never: the options are constant.
#[must_use]
pub fn http_client() -> reqwest::Client {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().timeout(scaled(Duration::from_mins(1))).build().expect("a client")
}

/// A form with these files.
#[must_use]
pub fn files(files: &[(&str, &str)]) -> Form {
    files.iter().fold(Form::new(), |form, (name, content)| {
        form.part("files", Part::text((*content).to_owned()).file_name((*name).to_owned()))
    })
}

/// A form with one file of these bytes, beside a program and a config.
#[must_use]
pub fn with_file(name: &str, content: Vec<u8>) -> Form {
    files(&[("config.yaml", "seed: 1\n")]).part("files", Part::bytes(content).file_name(name.to_owned()))
}
