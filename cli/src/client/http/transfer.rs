//! Uploads and downloads: they may take as long as they need, only their silences have a timeout.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, multipart};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::answer::{silent, within_timeout};
use super::error::ClientError;
use super::refusal::refused;
use super::request::Client;

/// How long an upload may make no progress, or go unanswered after it was sent.
const UPLOAD_SILENCE: Duration = Duration::from_mins(2);

impl Client {
    /// Sends a form under a key, whose files are read as they are sent. Whatever is read of them counts as progress.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        form: multipart::Form,
        key: &str,
        progress: &Progress,
    ) -> Result<T, ClientError> {
        let request = self.post_under_key(path, key);
        let mut answer = pin!(self.send(request.multipart(form)));
        loop {
            let left = progress.time_left();
            if left.is_zero() {
                return Err(silent(&self.base, progress.silence, "took no more of the upload and did not answer"));
            }
            tokio::select! {
                answer = &mut answer => return answer,
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Asks for a file from a byte on, as long as it is still the one of this tag. However long it takes to come, only
    /// its silences are bounded.
    pub(crate) async fn download(&self, path: &str, from: u64, etag: &str) -> Result<Download<'_>, ClientError> {
        let mut request = self.request(path);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, etag);
        }
        let response = within_timeout(&self.base, request.send()).await?;
        if !response.status().is_success() {
            return Err(refused(&self.base, response).await);
        }
        let is_rest = response.status() == StatusCode::PARTIAL_CONTENT;
        Ok(Download { base: &self.base, response, is_rest })
    }
}

/// A file on its way here.
pub(crate) struct Download<'a> {
    base: &'a str,
    response: Response,
    /// It begins where it was asked to, not at the file's beginning.
    pub(crate) is_rest: bool,
}

impl Download<'_> {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        within_timeout(self.base, self.response.chunk()).await
    }
}

/// When an upload last made progress.
#[derive(Debug)]
pub(crate) struct Progress {
    /// `None` until the first.
    last: Mutex<Option<Instant>>,
    begun: Instant,
    silence: Duration,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self::with_silence(UPLOAD_SILENCE)
    }

    fn with_silence(silence: Duration) -> Self {
        Self { last: Mutex::new(None), begun: Instant::now(), silence }
    }

    pub(crate) fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether anything was sent.
    pub(crate) fn has_begun(&self) -> bool {
        self.last().is_some()
    }

    fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the upload may still make no progress.
    fn time_left(&self) -> Duration {
        self.silence.saturating_sub(self.last().unwrap_or(self.begun).elapsed())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::test_server::speaks_once;
    use super::*;

    #[tokio::test]
    async fn an_upload_that_is_taken_and_not_answered_is_given_up() {
        let (client, server) = speaks_once(vec![]).await;
        let progress = Progress::with_silence(Duration::from_millis(200));
        let form = multipart::Form::new().text("a", "b");
        let error = client.upload::<Value>("/submissions", form, "key", &progress).await.unwrap_err();
        let sentence = error.sentence().unwrap();
        assert!(matches!(error, ClientError::Away { .. }) && sentence.contains("did not answer within"), "{sentence}");
        server.abort();
    }
}
