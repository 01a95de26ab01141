//! Workers that die or fall silent while another, on another machine, goes on.

use std::time::Duration;

use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;

use super::INSTANT;

const LOST_AND_RUN_AGAIN: [&str; 7] = [
    "job.enqueued",
    "job.started",
    "job.lease_lost",
    "job.retry_scheduled",
    "job.dispatched",
    "job.started",
    "job.completed",
];

/// A program that waits for a gate in its first run and completes at once in the next.
fn patient(roles: &Roles) -> String {
    let gate = roles.gate("gate").display().to_string();
    format!("import os, time\nprint('begun')\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\n{INSTANT}")
}

async fn ended(roles: &Roles) -> Folded {
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await
}

#[tokio::test]
async fn the_job_of_a_worker_that_was_killed_is_run_by_another() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let lost = roles.worker("lost", "1s");
    let job = alice.run(&patient(&roles)).await;
    alice.wait_for(&job, "running").await;
    lost.signal(Signal::SIGKILL);
    let _other = roles.worker("other", "1s");
    std::fs::write(roles.gate("gate"), "").expect("the gate");
    let shown = alice.wait_for(&job, "completed").await;
    assert!(shown["worker"].as_str().expect("a name").starts_with("other-"), "{shown}");
    let folded = ended(&roles).await;
    assert_eq!(folded.stories[&job.parse().expect("an id")], LOST_AND_RUN_AGAIN);
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let sleeper = roles.worker("sleeper", "1s");
    let job = alice.run(&patient(&roles)).await;
    alice.wait_for(&job, "running").await;
    sleeper.signal(Signal::SIGSTOP);
    let _other = roles.worker("other", "1s");
    // The sleeper's program goes on and ends in time: only its worker does not see it.
    std::fs::write(roles.gate("gate"), "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    sleeper.signal(Signal::SIGCONT);
    let next = alice.run(INSTANT).await;
    alice.wait_for(&next, "completed").await;
    let again = async || (alice.get("/jobs?status=running").await.body["jobs"] == serde_json::json!([])).then_some(());
    until("nothing runs", Duration::from_secs(10), again).await;
    let folded = ended(&roles).await;
    assert_eq!(folded.stories[&job.parse().expect("an id")], LOST_AND_RUN_AGAIN, "the late end is not recorded");
    let logs = alice.get(&format!("/jobs/{job}/logs")).await.body;
    assert_eq!(logs["logs"], "begun\nhello from the job\n", "one run's log, not two");
}
