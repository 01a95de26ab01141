//! A Redis that is killed in the middle of load.

use std::collections::BTreeSet;

use events::JobId;
use leadersboard_tests::board::Process;
use leadersboard_tests::preload::{Disk, DiskState};
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::{Persistence, RedisServer, come_back_as_at, dump};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use projections::Keyspace;
use redis::InfoDict;

use super::{INSTANT, RECOVERY, all_ended, assert_undisturbed, begun, count, crew, load};

/// More bytes than one commit has.
const SEVERAL_EVENTS: u64 = 8 * 1024;

#[tokio::test]
async fn with_every_answer_synced_a_killed_redis_loses_nothing_and_no_job_notices() {
    let mut roles = Roles::new().await;
    roles.lease = "30s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let (accepted, ()) = tokio::join!(load(&alice, &submission), async {
        for runs in [4, 12] {
            begun(&roles, runs).await;
            roles.redis.restart().await;
        }
    });
    let folded = all_ended(&roles).await;
    assert_undisturbed(&roles, &folded, &accepted);
}

#[tokio::test]
async fn with_a_sync_every_second_a_killed_redis_loses_its_last_second_and_no_job_ends_twice() {
    let disk = Disk::under("appendonly");
    let mut roles = Roles::on(RedisServer::start_with(Persistence::EverySecond, disk.environment()).await);
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let loads = async { [load(&alice, &submission).await, load(&alice, &submission).await].concat() };
    let (accepted, ()) = tokio::join!(loads, async {
        begun(&roles, 4).await;
        // While a sync is under way Redis keeps what it acknowledges to itself, for up to two seconds.
        disk.set(DiskState::Stuck);
        let mut redis = roles.redis.connection().await;
        until("Redis holds back what it acknowledged", RECOVERY, async || {
            let info: InfoDict = redis::cmd("INFO").arg("persistence").query_async(&mut redis).await.expect("INFO");
            (info.get::<u64>("aof_buffer_length").expect("an AOF") > SEVERAL_EVENTS).then_some(())
        })
        .await;
        disk.set(DiskState::Healthy);
        roles.redis.restart().await;
    });
    let folded = all_ended(&roles).await;
    let known: BTreeSet<JobId> = folded.jobs.keys().copied().collect();
    let lost = accepted.iter().filter(|job| !known.contains(job)).count();
    let mut redis = roles.redis.connection().await;
    let told = count(&mut redis, "EXISTS", &Keyspace::default().regress()).await;
    assert!(lost == 0 || told == 1, "{lost} accepted jobs were lost, and nothing tells of it");
    println!("{lost} of {} accepted jobs were lost with the last second of Redis", accepted.len());
    for (job, story) in &folded.stories {
        let ends = story.iter().filter(|kind| **kind == "job.completed").count();
        assert_eq!((ends, story.last()), (1, Some(&"job.completed")), "the events of job {job}: {story:?}");
    }
}

#[tokio::test]
async fn a_redis_that_comes_back_without_the_end_of_its_file_is_noticed_by_all_and_no_job_ends_twice() {
    for cut in [1, 3_000, 30_000] {
        let mut roles = Roles::new().await;
        let (_api, alice) = roles.api();
        let _crew = crew(&roles);
        let submission = alice.submit(INSTANT).await;
        let loads = async { [load(&alice, &submission).await, load(&alice, &submission).await].concat() };
        let (accepted, ()) = tokio::join!(loads, async {
            begun(&roles, 8).await;
            roles.redis.restart_without(cut).await;
        });
        let folded = all_ended(&roles).await;
        let lost = accepted.iter().filter(|job| !folded.jobs.contains_key(job)).count();
        println!("{cut} bytes cut: {lost} of {} accepted jobs were lost", accepted.len());
        let mut redis = roles.redis.connection().await;
        let told: Option<u64> =
            redis::cmd("HGET").arg(Keyspace::default().regress()).arg("v").query_async(&mut redis).await.expect("it");
        // The last bytes may have been of claims or heartbeats, which are no part of the log.
        let noticed = told == Some(1) || (told.is_none() && lost == 0 && cut < 30_000);
        assert!(noticed, "{cut} bytes cut, {lost} jobs lost, told {told:?} times by three processes");
        for (job, story) in &folded.stories {
            let ends = story.iter().filter(|kind| **kind == "job.completed").count();
            assert_eq!((ends, story.last()), (1, Some(&"job.completed")), "the events of job {job}: {story:?}");
        }
    }
}

#[tokio::test]
async fn a_job_whose_start_redis_forgot_runs_again_long_before_its_lease_would_have_ended() {
    let mut roles = Roles::new().await;
    roles.lease = "10m";
    let (_api, alice) = roles.api();
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let mut redis = roles.redis.connection().await;
    let before = dump(&mut redis).await;
    let mut worker = roles.worker_command("one", roles.lease);
    worker.env("WORKER_SLOTS", "2");
    let _worker = Process::spawn(worker);
    alice.wait_for(&job, "running").await;
    begun(&roles, 1).await;
    come_back_as_at(&mut redis, &before).await;
    begun(&roles, 2).await;
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    all_ended(&roles).await;
}
