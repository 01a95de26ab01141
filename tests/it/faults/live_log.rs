//! A log that is followed while what carries it breaks: every line comes once, and before the end.

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::sse::{Message, Stream};
use projections::Keyspace;

use super::{INSTANT, all_ended};

const LINES: usize = 300;

fn counting() -> String {
    format!("import time\nfor n in range({LINES}):\n    print(n, flush=True)\n    time.sleep(0.01)\n{INSTANT}")
}

fn counted() -> String {
    let lines: Vec<String> = (0..LINES).map(|n| format!("{n}\n")).collect();
    lines.concat() + "hello from the job\n"
}

/// Reads to the end, and after so many lines each has something broken.
async fn follow(mut stream: Stream, breaks: &[usize], mut broken: impl AsyncFnMut(usize)) -> (String, Message) {
    let mut text = String::new();
    let mut done = 0;
    loop {
        let message = stream.next().await.expect("a message");
        if message.event == "end" {
            assert_eq!(done, breaks.len(), "something was left to break");
            return (text, message);
        }
        text.push_str(message.data["logs"].as_str().unwrap_or_default());
        if breaks.get(done).is_some_and(|lines| text.matches('\n').count() >= *lines) {
            broken(done).await;
            done += 1;
        }
    }
}

#[tokio::test]
async fn through_connections_that_are_cut_and_fall_silent() {
    let mut roles = Roles::behind_a_network().await;
    roles.lease = "1min";
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", roles.lease);
    let job = alice.run(&counting()).await;
    let stream = alice.stream(&format!("/jobs/{job}/logs/stream"), None).await;
    let breaks = async |at| if at == 3 { roles.network().silence() } else { roles.network().cut() };
    let (text, end) = follow(stream, &[1, 50, 100, 150], breaks).await;
    assert_eq!((text, &end.data["status"]), (counted(), &"completed".into()));
    all_ended(&roles).await;
}

#[tokio::test]
async fn through_a_redis_that_is_killed() {
    let mut roles = Roles::new().await;
    roles.lease = "1min";
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", roles.lease);
    let job = alice.run(&counting()).await;
    let stream = alice.stream(&format!("/jobs/{job}/logs/stream"), None).await;
    let (text, end) = follow(stream, &[1, 100], async |_| roles.redis.restart().await).await;
    assert_eq!((text, &end.data["status"]), (counted(), &"completed".into()));
    all_ended(&roles).await;
}

#[tokio::test]
async fn through_a_crash_of_everything() {
    let mut board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let path = format!("/jobs/{job}/logs/stream");
    let mut stream = alice.stream(&path, None).await;
    let (mut text, mut last) = (String::new(), None);
    while text != "begun\n" {
        let message = stream.next().await.expect("a message");
        text.push_str(message.data["logs"].as_str().unwrap_or_default());
        last = message.id;
    }
    board.crash_and_restart().await;
    assert_eq!(stream.next().await, None, "it was cut, and nothing says that the job is over");
    std::fs::write(&gate, "").expect("the gate");
    let alice = Client::new(board.server(), ALICE);
    let told = alice.stream(&path, last.as_deref()).await.rest().await;
    assert_eq!((told[0].event.as_str(), told[0].id.as_deref()), ("attempt", Some("2:0")));
    let text: String = told.iter().filter_map(|message| message.data["logs"].as_str()).collect();
    assert_eq!(text, "begun\nhello from the job\n");
    assert_eq!(told.last().expect("an end").data["status"], "completed");
    check(&board.redis_url(), &Keyspace::default(), Expect::AllEnded).await;
}
