//! An API that is asked to stop while clients are at it.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Process};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{scaled, until, until_equal};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{SOON, answers, refusal, rest, sent};

const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"main.py\"\r\n\r\nprint(1)\n\r\n--b\r\n\
                    Content-Disposition: form-data; name=\"files\"; filename=\"config.yaml\"\r\n\r\nseed: 1\n\r\n--b--\r\n";

/// The two halves of an upload.
fn upload() -> (String, String) {
    let request = format!(
        "POST /submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: {}\r\nContent-Type: \
         multipart/form-data; boundary=b\r\n\r\n{FORM}",
        FORM.len()
    );
    let (first, second) = request.split_at(request.len() - FORM.len() / 2);
    (first.to_owned(), second.to_owned())
}

/// What is answered on a connection of its own: one that was kept may be closed just when it is used.
async fn asked(server: &str, path: &str) -> String {
    answers(server, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await
}

async fn ends(api: &mut Process) -> Option<i32> {
    until("the API ends", SOON, async || api.has_ended().then_some(())).await;
    api.wait()
}

#[tokio::test]
async fn an_upload_in_flight_is_finished_while_all_else_ends() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let (mut api, alice) = roles.api_with("api", &[("DRAIN_TIMEOUT", "1m")]);
    let submission = alice.submit("print(1)\n").await;
    let job = alice.enqueue(&submission, json!({})).await;
    let stream = alice.stream(&format!("/jobs/{job}/stream"), None).await;
    let mut idle = sent(alice.server(), b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut silent = sent(alice.server(), b"").await;
    let (first, second) = upload();
    let mut upload = sent(alice.server(), first.as_bytes()).await;
    let staging = roles.data.path().join("uploads/.staging");
    let staged = async || std::fs::read_dir(&staging).expect("staging").count();
    until_equal("the upload is under way", SOON, 1, staged).await;

    api.signal(Signal::SIGTERM);
    stream.rest().await;
    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200 "), "it ends after its answer");
    assert_eq!(rest(&mut silent).await, "");
    // New requests are refused, and a load balancer hears of it.
    assert_eq!(refusal(&asked(alice.server(), "/health/ready").await), (503, "draining".to_owned()));
    assert!(asked(alice.server(), "/health/live").await.starts_with("HTTP/1.1 200 "));
    let refused = answers(alice.server(), b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(refusal(&refused), (503, "draining".to_owned()));
    assert!(refused.contains("retry-after: ") && refused.contains("connection: close"), "{refused}");

    upload.write_all(second.as_bytes()).await.expect("the other half");
    let answer = rest(&mut upload).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(ends(&mut api).await, Some(0), "{}", roles.words("api"));
}

#[tokio::test]
async fn an_upload_that_does_not_end_is_cut_off_by_the_drain_timeout_or_a_second_signal() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    for (name, drain) in [("soon", "300ms"), ("told", "1h")] {
        let (mut api, alice) = roles.api_with(name, &[("DRAIN_TIMEOUT", drain)]);
        let mut upload = sent(alice.server(), upload().0.as_bytes()).await;
        let mut byte = [0];
        assert!(timeout(scaled(Duration::from_millis(200)), upload.read(&mut byte)).await.is_err(), "it is under way");
        api.signal(Signal::SIGTERM);
        if drain == "1h" {
            let refused = async || asked(alice.server(), "/me").await.starts_with("HTTP/1.1 503 ").then_some(());
            until("it drains", SOON, refused).await;
            api.signal(Signal::SIGTERM);
        }
        assert_eq!(ends(&mut api).await, Some(0), "{}", roles.words(name));
        assert_eq!(rest(&mut upload).await, "");
    }
}
