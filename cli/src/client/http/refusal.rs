//! An answer that is no success, as one sentence.

use std::time::Duration;

use reqwest::header::{HeaderName, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::answer::ANSWER_TIMEOUT;
use super::error::ClientError;
use crate::client::output::human;

/// The maximum length of a refusal that is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// The maximum length of the server's sentence that is shown.
const MAX_DETAIL_CHARS: usize = 1_000;
/// The maximum length of a request's id that is shown.
const MAX_REQUEST_ID_CHARS: usize = 100;

/// Reads the answer of a server at `base` that refused a request, or could not carry it out.
pub(super) async fn refused(base: &str, response: Response) -> ClientError {
    let status = response.status();
    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let location = header(LOCATION).map(str::to_owned);
    let request_id = header(HeaderName::from_static("x-request-id")).map(|id| human::line(id, MAX_REQUEST_ID_CHARS));
    let body = beginning(response).await;
    let told = serde_json::from_slice::<Value>(&body).ok();
    let detail = detail(status, told.as_ref());
    let code = told.as_ref().and_then(|body| body.get("code")?.as_str()).unwrap_or_default().to_owned();
    let sentence = match status {
        StatusCode::UNAUTHORIZED => {
            format!("{detail} Give the token of {base} with LEADERSBOARD_TOKEN or --token.")
        }
        status if status.is_redirection() => format!(
            "{base} points to another address{}: give that one with --server.",
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
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            ClientError::Away { sentence, retry_after }
        }
        _ => ClientError::Refused { sentence },
    }
}

/// The first bytes of a refusal, as far as they come within the timeout.
async fn beginning(mut response: Response) -> Vec<u8> {
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

/// The server's own sentence, or what can be said when a proxy answered in its place.
fn detail(status: StatusCode, body: Option<&Value>) -> String {
    let detail = body.and_then(|body| body.get("detail"));
    let told = detail.map(|detail| detail.as_str().map_or_else(|| detail.to_string(), str::to_owned));
    match told {
        Some(told) => {
            let told: String = human::plain(&told).chars().take(MAX_DETAIL_CHARS).collect();
            if told.ends_with(['.', '!', '?']) { told } else { format!("{told}.") }
        }
        None => format!(
            "the server answered {status}. This is not LeadersBoard's answer: check the address and the proxy before it."
        ),
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

#[cfg(test)]
mod tests {
    use super::super::test_server::{TestServer, speaks_once};
    use super::*;

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
    async fn a_broken_server_is_told_with_the_id_by_which_its_log_has_the_request() {
        let server =
            TestServer::start(|_| (500, "x-request-id: 0af7\r\n", "{\"detail\": \"broken\"}".to_owned())).await;
        let sentence = server.client().get::<Value>("/me", &[]).await.unwrap_err().sentence().unwrap();
        assert_eq!(sentence, "error: broken. The id of this request: 0af7.");
    }

    #[tokio::test]
    async fn no_refusal_is_taken_into_memory_beyond_a_bound() {
        let mut refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        refusal.resize(MAX_REFUSAL_BYTES + 1_000, b'1');
        let (client, server) = speaks_once(refusal).await;
        let error = client.get::<Value>("/jobs", &[]).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { .. }), "{error:?}");
        server.abort();
    }

    #[tokio::test]
    async fn what_a_proxy_answers_is_told_by_its_status() {
        for (status, headers, body, sentence) in [
            (
                403,
                "",
                "<html>",
                "error: the server answered 403 Forbidden. This is not LeadersBoard's answer: check the address and the proxy before it.",
            ),
            (302, "", "", "points to another address: give that one with --server."),
            (503, "retry-after: 90\r\n", "{}", "and the proxy before it. Try again in 1 min 30 s."),
            (422, "", r#"{"detail": [{"loc": "x"}]}"#, r#"error: [{"loc":"x"}]."#),
            (409, "", r#"{"detail": "is it over?"}"#, "error: is it over?"),
            (408, "", "", "check the address and the proxy before it."),
        ] {
            let server = TestServer::start(move |_| (status, headers, body.to_owned())).await;
            let told = server.client().get::<Value>("/me", &[]).await.unwrap_err().sentence().unwrap();
            assert!(told.ends_with(sentence), "{status}: {told}");
        }
    }
}
