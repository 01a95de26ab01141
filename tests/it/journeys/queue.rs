//! What a job that waits is told: where it stands, who would run it, when, and why it waits.

use std::path::Path;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Finished, Process};
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use serde_json::{Value, json};

use super::INSTANT;

/// Waits until a job's queue has this reason, and gives the queue.
async fn waits(client: &Client, job: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    let what = format!("job {job} waits: {reason}");
    until(&what, Duration::from_secs(30), async || {
        last = client.get(&format!("/jobs/{job}")).await.body;
        let queue = &last["queue"];
        queue["reason"].as_str().is_some_and(|found| found.starts_with(reason)).then(|| queue.clone())
    })
    .await
}

fn worker(roles: &Roles, name: &str, classes: &str) -> Process {
    let mut worker = roles.worker_command(name, "1s");
    worker.args(["--classes", classes]);
    Process::spawn(worker)
}

fn told(roles: &Roles, client: &Client, arguments: &[&str]) -> String {
    let mut command = roles.command(arguments);
    command.env("LEADERSBOARD_URL", client.server()).env("LEADERSBOARD_TOKEN", ALICE);
    Finished::of(command.output().expect("the binary runs")).stdout
}

fn open(gate: &Path) {
    std::fs::write(gate, "").expect("the gate");
}

#[tokio::test]
async fn a_waiting_job_is_told_its_place_who_would_run_it_and_when() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let gate = roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    let first = alice.enqueue(&submission, json!({})).await;
    let nobody = waits(&alice, &first, "no worker for class small is alive").await;
    let wanted = json!({
        "position": 1, "ahead": 0, "workers_alive": 0, "eta_seconds": null,
        "reason": "no worker for class small is alive",
    });
    assert_eq!(nobody, wanted);

    // A worker of another class is none for it.
    let _medium = worker(&roles, "medium", "medium");
    let other = alice.enqueue(&submission, json!({ "resource_class": "medium" })).await;
    alice.wait_for(&other, "running").await;
    assert_eq!(waits(&alice, &first, "no worker for class small is alive").await["workers_alive"], 0);

    let _small = worker(&roles, "small", "small");
    alice.wait_for(&first, "running").await;
    let [second, third, fourth] = [
        alice.enqueue(&submission, json!({})).await,
        alice.enqueue(&submission, json!({})).await,
        alice.enqueue(&submission, json!({})).await,
    ];
    let next = waits(&alice, &second, "next in line: waiting for a free worker of class small").await;
    assert_eq!((&next["position"], &next["ahead"], &next["workers_alive"]), (&1.into(), &0.into(), &1.into()));
    let ahead = waits(&alice, &third, "1 job of class small is ahead of you").await;
    assert_eq!((&ahead["position"], &ahead["ahead"]), (&2.into(), &1.into()));
    waits(&alice, &fourth, "2 jobs of class small are ahead of you").await;
    let listed = alice.get("/jobs?limit=1").await.body["jobs"][0]["queue"].clone();
    assert_eq!(listed["reason"], "2 jobs of class small are ahead of you");

    for arguments in [&["jobs", "show", &fourth][..], &["jobs", "list"]] {
        let said = told(&roles, &alice, arguments);
        assert!(said.contains("2 jobs of class small are ahead of you, position 3"), "{said}");
    }
    open(&gate);
    for job in [&first, &second, &third, &fourth, &other] {
        assert_eq!(alice.wait_for(job, "completed").await["queue"], Value::Null);
    }

    // Now it is known how long runs take.
    let closed = roles.gate("closed");
    let busy = alice.run(&gated(&closed)).await;
    alice.wait_for(&busy, "running").await;
    let last = alice.run(INSTANT).await;
    until("an estimate", Duration::from_secs(30), async || {
        let queue = waits(&alice, &last, "next in line").await;
        queue["eta_seconds"].as_u64().filter(|seconds| *seconds > 0)
    })
    .await;
    let said = told(&roles, &alice, &["jobs", "show", &last]);
    assert!(said.contains("position 1, starts in about"), "{said}");
    open(&closed);
    alice.wait_for(&last, "completed").await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_retry_tells_when_it_is_due_and_after_what() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let later = roles.command(&["policy", "set", "--retry-backoff", "1h"]).output().expect("the binary runs");
    assert!(later.status.success(), "{later:?}");
    let gate = roles.gate("gate");
    let mut dies = worker(&roles, "dies", "small");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;
    dies.signal(Signal::SIGKILL);
    dies.wait();
    // Whoever watches its lease would also run the job, once it is due.
    let _watches = worker(&roles, "watches", "small,medium");
    let queue = waits(&alice, &job, "retry in ").await;
    assert!(queue["reason"].as_str().is_some_and(|reason| reason.ends_with(" s after a lost worker")), "{queue}");
    let eta = queue["eta_seconds"].as_u64().expect("it is due at a known time");
    assert!((2_500..=4_400).contains(&eta), "an hour, give or take the jitter: {queue}");
    assert!(queue["workers_alive"].as_u64() >= Some(1), "{queue}");
    assert_eq!((&queue["position"], &queue["ahead"]), (&Value::Null, &Value::Null));
    alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    alice.wait_for(&job, "cancelled").await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}
