//! A Redis that goes away and comes back, under an API and a worker of their own processes.

use std::process::Stdio;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Process, command};
use leadersboard_tests::client::{Client, files};
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use projections::Keyspace;
use serde_json::json;

use super::INSTANT;

#[tokio::test]
async fn roles_apart_share_a_redis_and_wait_for_it_while_it_is_away() {
    let redis = RedisServer::start(Persistence::Always).await;
    let data = tempfile::tempdir().expect("a temporary directory");
    let role = |arguments: &[&str]| {
        let mut role = command(data.path());
        role.args(arguments).env("REDIS_URL", redis.url()).env("API_TOKENS", format!("alice:{ALICE}"));
        role
    };
    let early = role(&["worker"]).output().expect("the binary runs");
    assert_eq!(early.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&early.stderr).contains("leadersboard migrate"), "the cure is named: {early:?}");
    let migrated = role(&["migrate", "--json"]).output().expect("the binary runs");
    assert!(migrated.status.success(), "{migrated:?}");

    let mut api = role(&["api", "--json", "--listen", "127.0.0.1:0"]);
    api.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut api = Process::spawn(api);
    let server: serde_json::Value = serde_json::from_str(&api.line()).expect("its address");
    let alice = Client::new(server["address"].as_str().expect("an address"), ALICE);
    let mut worker = role(&["worker"]);
    worker.stdout(Stdio::null()).stderr(Stdio::null());
    let worker = Process::spawn(worker);
    let job = alice.run(INSTANT).await;
    let first = alice.wait_for(&job, "completed").await;

    // It is there and does not answer.
    kill(redis.pid(), Signal::SIGSTOP).expect("it runs");
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
    let uploads = std::fs::read_dir(data.path().join("uploads")).expect("the uploads").count();
    assert_eq!(uploads, 2, "the first submission and the empty staging folder");
    kill(redis.pid(), Signal::SIGCONT).expect("it runs");

    // It is gone, and comes back with what it acknowledged.
    let redis = redis.crash_and_restart().await;
    until("the API is back", Duration::from_secs(30), async || {
        (alice.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    let again = alice.run(INSTANT).await;
    alice.wait_for(&again, "completed").await;
    alice.wait_for(&job, "completed").await;
    worker.signal(Signal::SIGTERM);
    check(&mut redis.connection().await, &Keyspace::default(), Expect::AllEnded).await;
}
