//! Work that is lost by hand or by a defect: no job stays stuck.

use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use std::time::Duration;

use super::INSTANT;

async fn redis(raw: &mut MultiplexedConnection, command: &[&str]) -> redis::Value {
    redis::cmd(command[0]).arg(&command[1..]).query_async(raw).await.expect("it runs")
}

/// Two workers that reconcile, and a job that waits for a gate, running on one of them.
async fn running() -> (Roles, (Process, Client), [Process; 2], String) {
    let roles = Roles::new().await;
    let (api, alice) = roles.api();
    let workers = [roles.worker("one", "1s"), roles.worker("two", "1s")];
    let gate = roles.gate("gate").display().to_string();
    let job =
        alice.run(&format!("import os, time\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\n{INSTANT}")).await;
    alice.wait_for(&job, "running").await;
    (roles, (api, alice), workers, job)
}

fn open_gate(roles: &Roles) {
    std::fs::write(roles.gate("gate"), "").expect("the gate");
}

#[tokio::test]
async fn a_job_whose_ticket_is_lost_gets_another() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let job = alice.run(INSTANT).await;
    let keys = Keyspace::default();
    let mut raw = roles.redis.connection().await;
    redis(&mut raw, &["DEL", &keys.queue(&"small".parse().expect("a class"))]).await;
    let _workers = [roles.worker("one", "1s"), roles.worker("two", "1s")];
    alice.wait_for(&job, "completed").await;
    check(&roles.redis.url(), &keys, Expect::AllEnded).await;
}

#[tokio::test]
async fn a_run_whose_lease_is_lost_goes_on_under_a_new_one() {
    let (roles, (_api, alice), _workers, job) = running().await;
    let keys = Keyspace::default();
    let mut raw = roles.redis.connection().await;
    redis(&mut raw, &["DEL", &keys.leases()]).await;
    until("the lease is there again and beats", Duration::from_secs(10), async || {
        let lease: Option<String> =
            redis::cmd("HGET").arg(keys.leases()).arg(&job).query_async(&mut raw).await.expect("the leases");
        lease.filter(|lease| lease.split(' ').nth(1).is_some_and(|beat| beat != "0"))
    })
    .await;
    open_gate(&roles);
    let shown = alice.wait_for(&job, "completed").await;
    assert_eq!(shown["attempt"], 1, "{shown}");
    check(&roles.redis.url(), &keys, Expect::AllEnded).await;
}

#[tokio::test]
async fn a_run_that_lost_its_lease_and_its_worker_is_run_again() {
    let (roles, (_api, alice), workers, job) = running().await;
    let keys = Keyspace::default();
    let mut raw = roles.redis.connection().await;
    let holder = alice.wait_for(&job, "running").await["worker"].to_string();
    redis(&mut raw, &["DEL", &keys.leases(), &keys.queue(&"small".parse().expect("a class"))]).await;
    workers[usize::from(holder.contains("two"))].signal(Signal::SIGKILL);
    open_gate(&roles);
    let shown = alice.wait_for(&job, "completed").await;
    assert_eq!(shown["attempt"], 2, "{shown}");
    check(&roles.redis.url(), &keys, Expect::AllEnded).await;
}

#[tokio::test]
async fn a_lease_that_nobody_holds_is_dropped() {
    let (roles, (_api, alice), _workers, job) = running().await;
    let keys = Keyspace::default();
    let mut raw = roles.redis.connection().await;
    let nobody = "01a20b79d3b0744b828ee0cf7c2cf5f4";
    let lease = "0123456789abcdef01234567 3 1000 w-gone small 1-1";
    redis(&mut raw, &["HSET", &keys.leases(), nobody, lease]).await;
    until("the lease is gone", Duration::from_secs(10), async || {
        let there: bool = redis::cmd("HEXISTS").arg(keys.leases()).arg(nobody).query_async(&mut raw).await.expect("it");
        (!there).then_some(())
    })
    .await;
    open_gate(&roles);
    alice.wait_for(&job, "completed").await;
    check(&roles.redis.url(), &keys, Expect::AllEnded).await;
}

#[tokio::test]
async fn doctor_repairs_at_once_what_no_worker_is_there_to_repair() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    alice.run(INSTANT).await;
    let keys = Keyspace::default();
    let queue = keys.queue(&"small".parse().expect("a class"));
    let mut raw = roles.redis.connection().await;
    redis(&mut raw, &["DEL", &queue]).await;
    let repaired = roles.command(&["doctor", "--repair", "--json"]).output().expect("the binary runs");
    let rows: Value = serde_json::from_slice(&repaired.stdout).expect("JSON");
    assert_eq!(rows[0]["found"], "1 open job, 1 repair", "{rows}");
    assert!(rows[0]["cure"].as_str().is_some_and(|cure| cure.contains("projections rebuild")), "{rows}");
    let tickets: u64 = redis::cmd("XLEN").arg(&queue).query_async(&mut raw).await.expect("a length");
    assert_eq!(tickets, 1);
}
