//! Methods that no route is made for, on every route.

use std::time::Duration;

use leadersboard_tests::board::ALICE;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::scaled;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address;

/// Every route, with a job that waits for `{id}`, and what it is for.
const ROUTES: [(&str, &str); 27] = [
    ("/", "GET"),
    ("/health", "GET"),
    ("/health/live", "GET"),
    ("/health/ready", "GET"),
    ("/metrics", "GET"),
    ("/me", "GET"),
    ("/submissions", "GET,POST"),
    ("/submissions/{submission}", "GET"),
    ("/jobs", "GET,POST"),
    ("/jobs/{id}", "GET"),
    ("/jobs/{id}/status", "GET"),
    ("/jobs/{id}/cancel", "POST"),
    ("/jobs/{id}/events", "GET"),
    ("/jobs/{id}/logs", "GET"),
    ("/jobs/{id}/logs/stream", "GET"),
    ("/jobs/{id}/stream", "GET"),
    ("/jobs/{id}/curves", "GET"),
    ("/jobs/{id}/results", "GET"),
    ("/jobs/{id}/artifacts", "GET"),
    ("/jobs/{id}/artifacts.tar.gz", "GET"),
    ("/jobs/{id}/artifacts/x.png", "GET"),
    ("/jobs/{id}/visualizations", "GET"),
    ("/jobs/{id}/visualizations/x.png", "GET"),
    ("/leaderboard?metric=auc", "GET"),
    ("/leaderboard.csv?metric=auc", "GET"),
    ("/leaderboard/metrics", "GET"),
    ("/leaderboard/history?metric=auc", "GET"),
];
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn head_has_no_body_and_other_methods_are_refused_on_every_route() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let submission = alice.submit("print(1)\n").await;
    let job = alice.enqueue(&submission, serde_json::json!({})).await;
    for (route, allowed) in ROUTES {
        let path = route.replace("{id}", &job).replace("{submission}", &submission);
        // On one connection: whatever comes after the head of the first answer would be taken for the second.
        let mut connection = TcpStream::connect(address(alice.server())).await.expect("a connection");
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n\r\n");
        let two = format!("{head}GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        connection.write_all(two.as_bytes()).await.expect("sent");
        let mut answers = String::new();
        let read = timeout(scaled(PATIENCE), connection.read_to_string(&mut answers)).await;
        read.unwrap_or_else(|_| panic!("HEAD {path} does not end")).expect("an answer");
        let (first, second) = answers.split_once("\r\n\r\n").expect("two heads");
        assert!(second.starts_with("HTTP/1.1 200 OK\r\n") && second.ends_with("{\"status\":\"healthy\"}"), "{answers}");
        let status: u16 = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        if allowed.contains("GET") && !route.contains("stream") {
            assert_eq!(status, alice.get(&path).await.status, "HEAD {path}");
        } else {
            assert_eq!(status, if allowed.contains("GET") { 200 } else { 405 }, "HEAD {path}");
        }
        for method in ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "GET", "POST"] {
            if allowed.contains(method) {
                continue;
            }
            let request = alice.request(method.parse::<Method>().expect("a method"), &path);
            let answer = request.header("x-secret", "hunter2").send().await.expect("an answer");
            let headers = answer.headers().clone();
            assert_eq!(answer.status(), 405, "{method} {path}");
            let mut allow: Vec<&str> = headers["allow"].to_str().expect("text").split(',').collect();
            allow.retain(|method| *method != "HEAD");
            allow.sort_unstable();
            assert_eq!(allow.join(","), allowed, "{method} {path}");
            let body = answer.text().await.expect("a body");
            assert!(body.contains("method_not_allowed") && !body.contains("hunter2"), "{method} {path}: {body}");
        }
    }
    for line in ["OPTIONS *", "TRACE /nowhere", "HEAD /nowhere"] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nX-Secret: hunter2\r\nConnection: close\r\n\r\n");
        let answer = super::answers(alice.server(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.contains("hunter2"), "{line}: {answer}");
    }
}
