//! Disks that are full: Redis's, and that of the logs.

use leadersboard_tests::board::Process;
use leadersboard_tests::preload::{Disk, DiskState};
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use serde_json::json;

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
    let gate = roles.data.path().join("gate");
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
