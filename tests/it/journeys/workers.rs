//! Which workers there are, and how they leave.

use std::time::Duration;

use leadersboard_tests::board::Finished;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use serde_json::{Value, json};

use super::INSTANT;

fn workers(roles: &Roles) -> Vec<Value> {
    let listed = Finished::of(roles.command(&["--json", "workers"]).output().expect("the binary runs")).json();
    listed["workers"].as_array().expect("a list").clone()
}

async fn one_is(roles: &Roles, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(what, Duration::from_secs(30), async || workers(roles).into_iter().find(&wanted)).await
}

#[tokio::test]
async fn workers_are_listed_alive_draining_and_silent_and_then_no_more() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let leaves = roles.worker("leaves", "1s");
    let gate = roles.gate("gate").display().to_string();
    let job =
        alice.run(&format!("import os, time\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\n{INSTANT}")).await;
    let busy = one_is(&roles, "it is busy", |worker| worker["busy"] == 1).await;
    assert_eq!((&busy["state"], &busy["slots"], &busy["tickets"]), (&json!("alive"), &json!(1), &json!(1)), "{busy}");
    assert_eq!(busy["classes"], json!(["medium", "small"]));

    leaves.signal(Signal::SIGTERM);
    one_is(&roles, "it drains", |worker| worker["state"] == "draining").await;
    let dies = roles.worker("dies", "1s");
    one_is(&roles, "the other is there", |worker| {
        worker["worker"].as_str().is_some_and(|name| name.starts_with("dies"))
    })
    .await;
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    let gone = async || workers(&roles).iter().all(|worker| worker["state"] != "draining").then_some(());
    until("the first has left", Duration::from_secs(10), gone).await;

    dies.signal(Signal::SIGKILL);
    let mut raw = roles.redis.connection().await;
    let name = workers(&roles)[0]["worker"].as_str().expect("a name").to_owned();
    // Its last word fades after twenty seconds, or now.
    let fade = Keyspace::default().worker(&name.parse().expect("a name"));
    let _: () = redis::cmd("DEL").arg(fade).query_async(&mut raw).await.expect("it");
    assert_eq!(workers(&roles)[0]["state"], "silent");
    let _next = roles.worker("next", "1s");
    until("it is forgotten", Duration::from_secs(10), async || {
        workers(&roles).iter().all(|worker| worker["worker"] != name.as_str()).then_some(())
    })
    .await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_strict_role_refuses_a_redis_that_may_lose_what_it_acknowledged() {
    let roles = Roles::new().await;
    let _api = roles.api();
    let mut raw = roles.redis.connection().await;
    let _: () = redis::cmd("CONFIG").arg(&["SET", "appendfsync", "everysec"]).query_async(&mut raw).await.expect("set");
    for role in [&["api", "--listen", "127.0.0.1:0"][..], &["worker"]] {
        let refused = roles.command(role).arg("--strict").output().expect("the binary runs");
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains("appendfsync always"), "{told}");
    }
}

#[tokio::test]
async fn a_running_job_hears_of_its_cancel_at_once() {
    // A heartbeat would tell it after a quarter of an hour.
    let mut roles = Roles::new().await;
    roles.lease = "1h";
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", "1h");
    let job = alice.run("import time\ntime.sleep(300)\n").await;
    alice.wait_for(&job, "running").await;
    alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    alice.wait_for(&job, "cancelled").await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}
