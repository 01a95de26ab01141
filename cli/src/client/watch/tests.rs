//! Jobs watched over a real connection.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::client::http::test_server::{Answer, Request, TestServer};
use crate::client::output::print::Output;

fn job(status: &str, attempt: u32) -> Answer {
    let job = json!({
        "job_id": "j", "submission_id": "s", "user_id": "u", "status": status, "attempt": attempt,
        "created_at": "2026-01-01T00:00:00Z", "metrics": {"acc": 0.5},
    });
    (200, "", job.to_string())
}

fn log(attempt: u32, offset: usize, logs: &str, complete: bool) -> Answer {
    let log = json!({
        "job_id": "j", "attempt": attempt, "offset": offset, "next_offset": offset + logs.len(),
        "logs": logs, "complete": complete,
    });
    (200, "", log.to_string())
}

/// Answers `GET /jobs/j` from a script, one entry a call, the last one for ever; logs by attempt.
fn scripted(jobs: Vec<Answer>) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    let calls = AtomicUsize::new(0);
    move |request| match request.line.as_str() {
        "GET /jobs/j" => jobs[calls.fetch_add(1, Ordering::Relaxed).min(jobs.len() - 1)].clone(),
        "GET /jobs/j/logs?attempt=1&offset=0" => log(1, 0, "one\n", true),
        "GET /jobs/j/logs?attempt=2&offset=0" => log(2, 0, "two\n", false),
        "GET /jobs/j/logs?attempt=2&offset=4" => log(2, 4, "", true),
        other => (404, "", json!({"detail": other}).to_string()),
    }
}

async fn watched(server: &TestServer, longest_absence: Duration) -> Result<Value, ClientError> {
    let client = server.client();
    let mut screen = Screen::new(Output::Json, LogView::Safe);
    let watch = Watch::new(&client, "j", &mut screen, LogCursor::start(), Server::Unknown);
    watch.with_longest_absence(longest_absence).until_end().await
}

#[tokio::test]
async fn a_job_of_two_attempts_is_followed_through_an_outage() {
    let away = (503, "retry-after: 0\r\n", json!({"detail": "Redis is away"}).to_string());
    let jobs =
        vec![job("pending", 0), job("running", 1), away, job("pending", 1), job("running", 2), job("completed", 2)];
    let server = TestServer::start(scripted(jobs)).await;
    let document = watched(&server, LONGEST_ABSENCE).await.unwrap();
    assert_eq!(document["metrics"]["acc"], 0.5);
    let logs: Vec<String> = server.lines().into_iter().filter(|line| line.contains("logs?")).collect();
    assert_eq!(
        logs,
        [
            "GET /jobs/j/logs?attempt=1&offset=0",
            "GET /jobs/j/logs?attempt=2&offset=0",
            "GET /jobs/j/logs?attempt=2&offset=4"
        ]
    );
}

#[tokio::test]
async fn an_absence_ends_after_its_time_and_the_job_is_named() {
    let asked = AtomicUsize::new(0);
    let server = TestServer::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => job("pending", 0),
        _ => (502, "", "<html>".into()),
    })
    .await;
    let error = watched(&server, Duration::ZERO).await.unwrap_err();
    let sentence = error.sentence().unwrap();
    assert!(sentence.contains("jobs show j"), "{sentence}");
    assert!(matches!(error, ClientError::Away { .. }));
}

#[tokio::test]
async fn a_server_that_fails_from_the_first_request_is_not_waited_for() {
    for answer in
        [(502, "", "<html>"), (503, "retry-after: 9\r\n", "{}"), (200, "", "<html>welcome</html>"), (200, "", "")]
    {
        let (status, headers, body) = answer;
        let server = TestServer::start(move |_| (status, headers, body.to_owned())).await;
        let error = watched(&server, LONGEST_ABSENCE).await.unwrap_err();
        assert!(matches!(error, ClientError::Away { .. }), "{answer:?}: {error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_final() {
    let server = TestServer::start(|_| (404, "", json!({"detail": "no such job"}).to_string())).await;
    assert!(matches!(watched(&server, LONGEST_ABSENCE).await, Err(ClientError::Refused { .. })));
    assert_eq!(server.requests().len(), 1);
}

/// Messages of a log's stream.
fn stream(messages: &[(&str, Value)]) -> Answer {
    let messages = messages.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n"));
    (200, "content-type: text/event-stream\r\n", messages.collect())
}

fn piece(attempt: u32, offset: usize, logs: &str) -> (&'static str, Value) {
    let data = json!({ "attempt": attempt, "offset": offset, "next_offset": offset + logs.len(), "logs": logs });
    ("log", data)
}

#[tokio::test]
async fn a_stream_that_is_cut_is_gone_on_with_where_it_was_cut() {
    let calls = AtomicUsize::new(0);
    let begins = |attempt| ("attempt", json!({ "attempt": attempt, "offset": 0 }));
    let server = TestServer::start(move |request| match request.line.as_str() {
        "GET /jobs/j/logs/stream" => match calls.fetch_add(1, Ordering::Relaxed) {
            0 => stream(&[begins(1), piece(1, 0, "one\n"), piece(1, 4, "two\n")]),
            1 => (503, "retry-after: 0\r\n", json!({ "detail": "Redis is away" }).to_string()),
            2 => stream(&[piece(1, 8, "three\n"), begins(2), piece(2, 0, "four\n")]),
            _ => stream(&[piece(2, 5, "five\n"), ("end", json!({ "status": "completed" }))]),
        },
        "GET /jobs/j" if calls.load(Ordering::Relaxed) > 3 => job("completed", 2),
        _ => job("running", 2),
    })
    .await;
    let document = watched(&server, LONGEST_ABSENCE).await.unwrap();
    assert_eq!(document["status"], "completed");
    let requests = server.requests();
    let ids = requests.iter().filter_map(|request| {
        request.head.lines().find_map(|line| line.strip_prefix("last-event-id: ")).map(str::to_owned)
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["1:0", "1:8", "1:8", "2:5"]);
}
