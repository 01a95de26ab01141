//! A Redis that goes away and comes back, under an API and a worker of their own processes.

use std::time::Duration;

use leadersboard_tests::client::files;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use projections::Keyspace;
use serde_json::json;

use super::INSTANT;

#[tokio::test]
async fn roles_apart_share_a_redis_and_wait_for_it_while_it_is_away() {
    let mut roles = Roles::new().await;
    let early = roles.command(&["worker"]).output().expect("the binary runs");
    assert_eq!(early.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&early.stderr).contains("leadersboard migrate"), "the cure is named: {early:?}");
    let (_api, alice) = roles.api();
    let worker = roles.worker("w", "30s");
    let job = alice.run(INSTANT).await;
    let first = alice.wait_for(&job, "completed").await;

    // It is there and does not answer.
    kill(roles.redis.pid(), Signal::SIGSTOP).expect("it runs");
    let submission = first["submission_id"].clone();
    let upload = files(&[("main.py", INSTANT), ("config.yaml", "a: 1")]);
    let path = format!("/jobs/{job}/status");
    let enqueue = json!({ "submission_id": submission });
    let answers = tokio::join!(alice.get(&path), alice.upload(upload), alice.post("/jobs", &enqueue));
    for (what, answer) in [("a read", answers.0), ("an upload", answers.1), ("a job", answers.2)] {
        assert_eq!(answer.status, 503, "{what}: {answer:?}");
        assert!(answer.detail().contains("Redis"), "{what}: {}", answer.detail());
    }
    assert_eq!(alice.get("/health").await.status, 200);
    let uploads = std::fs::read_dir(roles.data.path().join("uploads")).expect("the uploads").count();
    assert_eq!(uploads, 1 + 2, "the first submission, the empty staging folder and the board's name");
    kill(roles.redis.pid(), Signal::SIGCONT).expect("it runs");

    // It is gone, and comes back with what it acknowledged.
    roles.redis = roles.redis.crash_and_restart().await;
    let ready = async || (alice.get("/health/ready").await.status == 200).then_some(());
    until("the API is back", Duration::from_secs(30), ready).await;
    let again = alice.run(INSTANT).await;
    alice.wait_for(&again, "completed").await;
    alice.wait_for(&job, "completed").await;
    worker.signal(Signal::SIGTERM);
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}
