//! Disks that are full: Redis's, that of the logs, and that of the uploads.

use leadersboard_tests::board::{Finished, Process};
use leadersboard_tests::client::files;
use leadersboard_tests::preload::{Disk, DiskState};
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use reqwest::Method;
use serde_json::{Value, json};

use super::{INSTANT, RECOVERY, all_ended, assert_undisturbed, begun, crew, load};

/// Redis's name for the folder of its append-only file.
const AOF: &str = "appendonlydir";

#[tokio::test]
async fn with_every_answer_synced_a_redis_that_ends_over_its_full_disk_comes_back_with_all_it_acknowledged() {
    let disk = Disk::under(AOF);
    let mut roles = Roles::on(RedisServer::start_with(Persistence::Always, disk.environment()).await);
    roles.lease = "30s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let (accepted, ()) = tokio::join!(load(&alice, &submission), async {
        begun(&roles, 4).await;
        disk.set(DiskState::Full);
        until("Redis gives up", RECOVERY, async || roles.redis.has_ended().then_some(())).await;
        disk.set(DiskState::Healthy);
        roles.redis.restart().await;
    });
    assert_undisturbed(&roles, &all_ended(&roles).await, &accepted);
}

#[tokio::test]
async fn with_a_sync_every_second_a_redis_with_a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = Disk::under(AOF);
    let mut roles = Roles::on(RedisServer::start_with(Persistence::EverySecond, disk.environment()).await);
    roles.lease = "30s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let (accepted, ()) = tokio::join!(load(&alice, &submission), async {
        begun(&roles, 4).await;
        disk.set(DiskState::Full);
        until("jobs are refused", RECOVERY, async || {
            let answer = alice.post("/jobs", &json!({ "submission_id": submission })).await;
            (answer.status == 503).then_some(())
        })
        .await;
        assert_eq!(alice.get("/jobs").await.status, 200, "what is there can be read");
        assert!(!roles.redis.has_ended(), "it waits for room");
        disk.set(DiskState::Healthy);
    });
    assert_undisturbed(&roles, &all_ended(&roles).await, &accepted);
}

#[tokio::test]
async fn a_full_disk_under_the_logs_shortens_the_log_and_not_the_job() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let disk = Disk::under(roles.data.path().join("logs"));
    let mut worker = roles.worker_command("w", "1s");
    worker.envs(disk.environment());
    let _worker = Process::spawn(worker);
    let gate = roles.gate("gate");
    let program = format!("{}\nprint('x' * 200000)", gated(&gate));
    let job = alice.run(&program).await;
    let path = format!("/jobs/{job}/logs");
    until("its log has begun", RECOVERY, async || (alice.get(&path).await.body["logs"] == "begun\n").then_some(()))
        .await;
    disk.set(DiskState::Full);
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    let log = alice.get(&path).await.body;
    assert!(log["logs"].as_str().expect("a log").starts_with("begun\n"), "{log}");
    assert_eq!(log["complete"], true, "{log}");

    // The worker needs no other to go on, and the next log has room again.
    disk.set(DiskState::Healthy);
    let next = alice.run(INSTANT).await;
    alice.wait_for(&next, "completed").await;
    assert_eq!(alice.get(&format!("/jobs/{next}/logs")).await.body["logs"], "hello from the job\n");
    let jobs = [job, next].map(|job| job.parse().expect("an id"));
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

#[tokio::test]
async fn with_less_than_5_percent_of_the_disk_free_uploads_are_refused_and_jobs_go_on() {
    let roles = Roles::new().await;
    let (first, _) = roles.api();
    drop(first);
    let disk = Disk::under(roles.data.path().join("uploads"));
    let environment = disk.environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.to_str().expect("a path"))).collect();
    let (_api, alice) = roles.api_with("api", &environment);
    let _worker = roles.worker("w", "1s");
    let gate = roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    let running = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&running, "running").await;
    assert_eq!(alice.get("/health/ready").await.status, 200);

    disk.set(DiskState::Scarce);
    let form = || files(&[("main.py", INSTANT), ("config.yaml", "seed: 1\n")]);
    let refused = alice.request(Method::POST, "/submissions").multipart(form()).send().await.expect("an answer");
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"60".parse().expect("a value")));
    let body: Value = serde_json::from_slice(&refused.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(body["code"], "storage_full", "{body}");
    assert!(body["detail"].as_str().expect("a sentence").contains("5 %"), "{body}");
    let folders = std::fs::read_dir(roles.data.path().join("uploads")).expect("uploads").count();
    assert_eq!(folders, 3, "staging, the board's name, and the first submission");
    assert_eq!(std::fs::read_dir(roles.data.path().join("uploads/.staging")).expect("staging").count(), 0);
    let ready = alice.get("/health/ready").await;
    // Everything else goes on, so nobody is to be kept away.
    assert_eq!(ready.status, 200);
    assert!(ready.body["checks"]["storage"].as_str().is_some_and(|told| told.contains("nearly full")), "{ready:?}");
    let mut doctor = roles.command(&["doctor", "--json"]);
    doctor.envs(disk.environment());
    let rows = Finished::of(doctor.output().expect("it runs")).json();
    let uploads = rows.as_array().expect("rows").iter().find(|row| row["name"] == "uploads").expect("a row");
    assert_eq!(uploads["verdict"], "unusable", "{uploads}");

    // What is there can be run, what runs ends.
    let next = alice.enqueue(&submission, json!({})).await;
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&running, "completed").await;
    alice.wait_for(&next, "completed").await;
    disk.set(DiskState::Healthy);
    let last = alice.run(INSTANT).await;
    alice.wait_for(&last, "completed").await;
    let jobs = [running, next, last].map(|job| job.parse().expect("an id"));
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}
