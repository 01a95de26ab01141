//! Many streams and long answers, and clients that leave them lying.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, BOB, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{resident_bytes, sent};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_user_has_a_number_of_streams_and_each_that_ends_frees_its_place() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let tokens = format!("alice:{ALICE},bob:{BOB}");
    let (_api, alice) = roles.api_with("api", &[("MAX_STREAMS_PER_USER", "3"), ("API_TOKENS", &tokens)]);
    let bob = Client::new(alice.server(), BOB);
    let submission = alice.submit("print(1)\n").await;
    let job = alice.enqueue(&submission, json!({})).await;
    let paths = [format!("/jobs/{job}/stream"), format!("/jobs/{job}/logs/stream")];

    let kept = alice.stream(&paths[0], None).await;
    let mut abandoned: Vec<TcpStream> = Vec::new();
    for path in &paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n\r\n");
        let mut connection = sent(alice.server(), request.as_bytes()).await;
        let mut status = [0; 12];
        connection.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200");
        abandoned.push(connection);
    }
    let refused = alice.get(&paths[0]).await;
    assert_eq!((refused.status, refused.retry_after), (429, Some(5)), "{refused:?}");
    assert_eq!(refused.body["code"], "streams", "{refused:?}");
    assert_eq!((&refused.body["limit"], &refused.body["remaining"]), (&json!(3), &json!(0)), "{refused:?}");
    assert!(refused.detail().contains("MAX_STREAMS_PER_USER") && refused.body["request_id"].is_string());
    // What is no stream is not counted, and another user has places of their own.
    assert_eq!(alice.get(&format!("/jobs/{job}/status")).await.status, 200);
    let theirs = bob.submit("print(1)\n").await;
    let theirs = bob.enqueue(&theirs, json!({})).await;
    drop(bob.stream(&format!("/jobs/{theirs}/stream"), None).await);

    // A client that goes without a word.
    drop(abandoned.pop());
    let second = until("its place is free", PATIENCE, async || open(&alice, &paths[0]).await).await;
    assert!(open(&alice, &paths[0]).await.is_none());
    // A stream that ends.
    let cancelled = alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    kept.rest().await;
    drop(second);
    until("its place is free", PATIENCE, async || open(&alice, &paths[0]).await).await;
}

/// How long the log is that nobody reads, and how many ask for it.
const LOG_BYTES: u64 = 6 << 20;
const READERS: usize = 100;

#[tokio::test]
async fn readers_that_read_nothing_cost_bounded_memory_and_keep_nobody_from_what_is_small() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job =
        alice.run(&format!("for _ in range({}):\n    print('x' * 1023)\nraise SystemExit(1)\n", LOG_BYTES >> 10)).await;
    alice.wait_for(&job, "failed").await;
    let before = resident_bytes(board.pid());
    let mut readers = Vec::new();
    for path in ["logs", "logs/stream"] {
        for _ in 0..READERS {
            let request =
                format!("GET /jobs/{job}/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n\r\n");
            readers.push(sent(board.server(), request.as_bytes()).await);
        }
    }
    let log = format!("/jobs/{job}/logs?tail_lines=1");
    let mut refused = alice.get(&log).await;
    until("long answers have to wait", PATIENCE, async || {
        refused = alice.get(&log).await;
        (refused.status == 503).then_some(())
    })
    .await;
    assert_eq!((&refused.body["code"], refused.retry_after), (&json!("busy"), Some(2)), "{refused:?}");
    for path in [format!("/jobs/{job}/status"), "/me".to_owned(), "/health/ready".to_owned()] {
        assert_eq!(alice.get(&path).await.status, 200, "{path}");
    }
    let grown = resident_bytes(board.pid()).saturating_sub(before);
    assert!(grown < READERS as u64 * LOG_BYTES * 2 / 3, "memory has grown by {grown} bytes");
    drop(readers);
    until("there is room again", PATIENCE, async || (alice.get(&log).await.status == 200).then_some(())).await;
}

/// A stream, if there is a place for it.
async fn open(client: &Client, path: &str) -> Option<reqwest::Response> {
    let answer = client.request(reqwest::Method::GET, path).send().await.expect("an answer");
    (answer.status() == 200).then_some(answer)
}
