//! A worker that can't set up jobs: it takes none, says why, and costs no job a try while another can.

use std::fs;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, Finished};
use leadersboard_tests::client::Client;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use serde_json::{Value, json};

use super::{INSTANT, all_ended, crew};

const PATIENCE: Duration = Duration::from_mins(1);

/// How many jobs there are: a worker that took each as it came would have failed all of them within seconds.
const JOBS: usize = 12;

pub(super) fn state(roles: &Roles, name: &str) -> Value {
    let listed = Finished::of(roles.command(&["--json", "workers"]).output().expect("the binary runs")).json();
    let workers = listed["workers"].as_array().expect("a list");
    let is_it = |worker: &&Value| worker["worker"].as_str().is_some_and(|worker| worker.starts_with(name));
    workers.iter().find(is_it).cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn a_worker_whose_work_root_is_gone_loses_no_job_to_itself_and_comes_back_with_it() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let sick = roles.worker("sick", "1s");
    let (root, aside) = (roles.data.path().join("sick"), roles.data.path().join("aside"));
    until("it is there", PATIENCE, async || (state(&roles, "sick")["state"] == "alive").then_some(())).await;
    fs::rename(&root, &aside).expect("moved");
    fs::write(&root, "not a directory").expect("a file in its place");

    // Alone, it fails one job at most before it stops, and what waits says so.
    let submission = alice.submit(INSTANT).await;
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(alice.enqueue(&submission, json!({})).await);
    }
    let unfit = until("it says so", PATIENCE, async || {
        let state = state(&roles, "sick");
        (state["state"] == "unfit").then_some(state)
    })
    .await;
    assert!(unfit["unfit"].as_str().is_some_and(|why| why.contains("work directory")), "{unfit}");
    let last = jobs.last().expect("a job").clone();
    until("the job that waits says why", PATIENCE, async || {
        let shown = alice.get(&format!("/jobs/{last}")).await.body;
        shown["queue"]["reason"]
            .as_str()
            .is_some_and(|why| why.contains("sick-") && why.contains("is not taking jobs"))
            .then_some(())
    })
    .await;
    // A healthy crew runs all of them.
    let healthy = crew(&roles);
    for job in &jobs {
        alice.wait_for(job, "completed").await;
    }
    // With the crew gone, the worker goes on as soon as it can.
    drop(healthy);
    fs::remove_file(&root).expect("removed");
    fs::rename(&aside, &root).expect("moved back");
    until("it is well again", PATIENCE, async || (state(&roles, "sick")["state"] == "alive").then_some(())).await;
    let next = alice.run(INSTANT).await;
    alice.wait_for(&next, "completed").await;
    let folded = all_ended(&roles).await;
    let failures: usize = folded.stories.values().flatten().filter(|kind| **kind == "job.lease_lost").count();
    assert!(failures <= 2, "{failures} runs were lost to one worker");
    drop(sick);
}

#[tokio::test]
async fn a_job_that_an_unfit_worker_fails_is_run_by_another_and_pays_nothing() {
    let mut roles = Roles::new().await;
    // A single failure that counts would end a job.
    roles.limits.push(("MAX_RETRIES", "0"));
    let (_api, alice) = roles.api();
    let _sick = roles.worker("sick", "1s");
    let _well = roles.worker("well", "1s");
    for name in ["sick", "well"] {
        until("it is there", PATIENCE, async || (state(&roles, name)["state"] == "alive").then_some(())).await;
    }
    let root = roles.data.path().join("sick");
    fs::rename(&root, roles.data.path().join("aside")).expect("moved");
    fs::write(&root, "not a directory").expect("a file in its place");
    let submission = alice.submit(INSTANT).await;
    for _ in 0..JOBS {
        let job = alice.enqueue(&submission, json!({})).await;
        alice.wait_for(&job, "completed").await;
    }
    let folded = all_ended(&roles).await;
    let lost = folded.stories.values().flatten().filter(|kind| **kind == "job.lease_lost").count();
    assert!(lost <= 1, "{lost} runs were lost to one worker");
}

#[tokio::test]
async fn a_work_root_that_was_removed_is_made_anew_and_readiness_tells_of_one_that_can_not_be() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    assert_eq!(alice.get("/health/ready").await.body["checks"]["worker"], "ok");
    let root = board.data().join("work");
    assert!(root.is_dir());
    fs::remove_dir_all(&root).expect("removed");
    fs::write(&root, "not a directory").expect("a file in its place");
    let job = alice.run(INSTANT).await;
    until("it is not ready", PATIENCE, async || (alice.get("/health/ready").await.status == 503).then_some(())).await;
    let detail = alice.get("/health/ready").await.body["detail"].to_string();
    assert!(detail.contains("can't set them up: its work directory can't be used"), "{detail}");
    assert!(!detail.contains(&*board.data().to_string_lossy()), "{detail}");
    fs::remove_file(&root).expect("removed");
    alice.wait_for(&job, "completed").await;
    assert_eq!(alice.get("/health/ready").await.status, 200);
}
