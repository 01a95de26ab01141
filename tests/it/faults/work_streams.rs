//! Work state and scripts that somebody removes by hand under running workers.

use std::time::Duration;

use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use projections::Keyspace;
use projections::keys::WORKERS_GROUP;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoConsumer, StreamInfoConsumersReply};
use serde_json::json;

use super::{INSTANT, RECOVERY, all_ended, assert_undisturbed, begun, count, crew, load};

fn small_queue() -> String {
    Keyspace::default().queue(&"small".parse().expect("a class"))
}

async fn consumers(redis: &mut MultiplexedConnection) -> Vec<StreamInfoConsumer> {
    let mut info = redis::cmd("XINFO");
    let info = info.arg("CONSUMERS").arg(small_queue()).arg(WORKERS_GROUP);
    info.query_async::<StreamInfoConsumersReply>(redis).await.expect("the consumers").consumers
}

async fn group(redis: &mut MultiplexedConnection, arguments: &[&str]) {
    let mut group = redis::cmd("XGROUP");
    let _: u64 = group.arg(arguments).query_async(redis).await.expect("it is done");
}

#[tokio::test]
async fn a_group_destroyed_under_blocked_readers_costs_no_running_job_and_no_later_one() {
    let mut roles = Roles::new().await;
    roles.lease = "2s";
    let (_api, alice) = roles.api();
    // Both have free slots, so both are blocked for tickets.
    let _crew = crew(&roles);
    let gate = roles.gate("gate");
    let running = alice.run(&gated(&gate)).await;
    alice.wait_for(&running, "running").await;
    let mut redis = roles.redis.connection().await;
    let blocked = async || {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut redis).await.expect("the clients");
        (clients.matches("cmd=xread ").count() == 2).then_some(())
    };
    until("both are blocked", RECOVERY, blocked).await;
    group(&mut redis, &["DESTROY", &small_queue(), WORKERS_GROUP]).await;

    let later = alice.run(INSTANT).await;
    alice.wait_for(&later, "completed").await;
    let taken_back = async || {
        let holders = consumers(&mut redis).await;
        holders.iter().any(|consumer| consumer.pending == 1).then_some(())
    };
    until("its ticket is held again", RECOVERY, taken_back).await;
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&running, "completed").await;
    let jobs = [running, later].map(|job| job.parse().expect("an id"));
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

#[tokio::test]
async fn a_worker_that_is_handed_the_ticket_of_a_running_job_leaves_it_in_its_stream() {
    let mut roles = Roles::new().await;
    // Neither the holder's beat nor the reconciler may mend what is looked at here.
    (roles.lease, roles.reconcile_interval) = ("10min", "10min");
    let (_api, alice) = roles.api();
    let _holder = roles.worker("holder", roles.lease);
    let gate = roles.gate("gate");
    let running = alice.run(&gated(&gate)).await;
    alice.wait_for(&running, "running").await;
    let mut redis = roles.redis.connection().await;
    group(&mut redis, &["DESTROY", &small_queue(), WORKERS_GROUP]).await;

    // Its one slot makes it deal with the running job's ticket before it comes to the later one.
    let _other = roles.worker("other", roles.lease);
    let later = alice.run(INSTANT).await;
    alice.wait_for(&later, "completed").await;
    assert_eq!(count(&mut redis, "XLEN", &small_queue()).await, 1, "the running job's ticket");
    let handed_out = consumers(&mut redis).await.pop().expect("a consumer");
    assert!(handed_out.name.starts_with("other-") && handed_out.pending == 1, "{handed_out:?}");
    std::fs::write(&gate, "").expect("the gate");
    let jobs = [running, later].map(|job| job.parse().expect("an id"));
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

#[tokio::test]
async fn a_running_job_survives_the_removal_of_its_worker_from_the_group() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let _worker = roles.worker("w", "1s");
    let gate = roles.gate("gate");
    let running = alice.run(&gated(&gate)).await;
    alice.wait_for(&running, "running").await;
    let submission = alice.submit(INSTANT).await;
    let mut jobs = vec![running.parse().expect("an id")];
    for _ in 0..3 {
        jobs.push(alice.enqueue(&submission, json!({})).await.parse().expect("an id"));
    }
    let mut redis = roles.redis.connection().await;
    let holder = consumers(&mut redis).await.pop().expect("a consumer");
    assert_eq!(holder.pending, 1);
    group(&mut redis, &["DELCONSUMER", &small_queue(), WORKERS_GROUP, &holder.name]).await;

    let taken_back = async || consumers(&mut redis).await.iter().any(|consumer| consumer.pending == 1).then_some(());
    until("its ticket is held again", Duration::from_secs(5), taken_back).await;
    std::fs::write(&gate, "").expect("the gate");
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

#[tokio::test]
async fn tickets_whose_claim_vanishes_with_its_consumer_are_handed_out_again() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let submission = alice.submit(INSTANT).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(alice.enqueue(&submission, json!({})).await.parse().expect("an id"));
    }
    let mut redis = roles.redis.connection().await;
    let _: () = redis.xgroup_create_mkstream(small_queue(), WORKERS_GROUP, "0").await.expect("a group");
    let mut claim = redis::cmd("XREADGROUP");
    claim.arg("GROUP").arg(&[WORKERS_GROUP, "ghost", "COUNT", "9", "STREAMS", &small_queue(), ">"]);
    let _: redis::Value = claim.query_async(&mut redis).await.expect("the tickets");
    assert_eq!(consumers(&mut redis).await.pop().expect("a consumer").pending, jobs.len());
    group(&mut redis, &["DELCONSUMER", &small_queue(), WORKERS_GROUP, "ghost"]).await;
    let _crew = crew(&roles);
    assert_undisturbed(&roles, &all_ended(&roles).await, &jobs);
}

#[tokio::test]
async fn scripts_flushed_in_the_middle_of_load_are_loaded_again_and_no_job_notices() {
    let mut roles = Roles::new().await;
    roles.lease = "2s";
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let submission = alice.submit(INSTANT).await;
    let (accepted, ()) = tokio::join!(load(&alice, &submission), async {
        let mut redis = roles.redis.connection().await;
        for runs in 1..=10 {
            begun(&roles, runs).await;
            let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut redis).await.expect("they are flushed");
        }
    });
    assert_undisturbed(&roles, &all_ended(&roles).await, &accepted);
}
