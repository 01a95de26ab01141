//! Resource classes that come and go while workers run and jobs wait.

use std::time::Duration;

use leadersboard_tests::board::{Finished, Process};
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use projections::Keyspace;
use serde_json::json;

use super::INSTANT;

const PATIENCE: Duration = Duration::from_mins(1);

fn set(roles: &Roles, arguments: &[&str]) -> Finished {
    let mut command = roles.command(&[&["policy", "set", "--json", "--by", "root"], arguments].concat());
    Finished::of(command.output().expect("the binary runs"))
}

#[tokio::test]
async fn running_workers_serve_a_class_that_is_added_and_only_force_removes_one_that_jobs_wait_for() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let worker = roles.worker("one", "1s");
    let submission = alice.submit(INSTANT).await;
    let small = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&small, "completed").await;

    let added = set(&roles, &["--resource-classes", "small=30m,medium=60m,huge=30m"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let wants = |class: &str| json!({ "resource_class": class });
    let asked = json!({ "submission_id": submission, "config": wants("huge") });
    let huge = until("the API follows", PATIENCE, async || {
        alice.post("/jobs", &asked).await.body["job_id"].as_str().map(str::to_owned)
    })
    .await;
    alice.wait_for(&huge, "completed").await;
    let listed = async || {
        let listed = Finished::of(roles.command(&["--json", "workers"]).output().expect("it runs")).json();
        listed["workers"][0]["classes"].clone()
    };
    until_equal("the classes that are listed", PATIENCE, json!(["huge", "medium", "small"]), listed).await;

    // One that runs goes on to its end; those that wait keep their class.
    let gate = roles.gate("gate");
    let long = alice.submit(&gated(&gate)).await;
    let running = alice.enqueue(&long, wants("huge")).await;
    alice.wait_for(&running, "running").await;
    let waiting = alice.enqueue(&submission, wants("huge")).await;
    let refused = set(&roles, &["--resource-classes", "small=30m"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("1 job waits for class huge"), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    let restarted = Finished::of(
        roles.command(&["migrate", "--json"]).env("RESOURCE_CLASSES", "small=30m").output().expect("it runs"),
    );
    assert!(restarted.code == Some(0) && restarted.stderr.contains("they stay"), "{restarted:?}");

    let forced = set(&roles, &["--resource-classes", "small=30m", "--force"]);
    assert!(forced.code == Some(0) && forced.stderr.contains("1 waiting job"), "{forced:?}");
    let cancelled = alice.wait_for(&waiting, "cancelled").await;
    assert_eq!(cancelled["error"], "resource class huge was removed", "{cancelled}");
    let history = alice.get(&format!("/jobs/{waiting}/events")).await.body.to_string();
    assert!(history.contains("resource class huge was removed"), "{history}");
    // The API has not heard of it for up to ten seconds; the commit has.
    let late = alice.post("/jobs", &asked).await;
    assert_eq!(late.status, 400, "{late:?}");
    // What ran and is to be tried again has nobody to run it: it is cancelled with that reason, and not given up.
    worker.signal(Signal::SIGKILL);
    let _next: Process = roles.worker("next", "1s");
    let cancelled = alice.wait_for(&running, "cancelled").await;
    assert_eq!(cancelled["error"], "resource class huge was removed", "{cancelled}");
    let last = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&last, "completed").await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_shorter_retention_says_how_many_jobs_it_would_delete_and_wants_a_yes() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", "1s");
    let submission = alice.submit(INSTANT).await;
    let unused = alice.submit(INSTANT).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(alice.enqueue(&submission, json!({})).await);
    }
    for job in &jobs {
        alice.wait_for(job, "completed").await;
    }
    // Nothing is as old as that.
    assert_eq!(set(&roles, &["--retention", "1h", "--submission-ttl", "1h"]).code, Some(0));
    let refused = until("they are a second old", PATIENCE, async || {
        let refused = set(&roles, &["--retention", "1s", "--submission-ttl", "1s"]);
        refused.stderr.contains("2 finished jobs").then_some(refused)
    })
    .await;
    assert!(refused.code != Some(0) && refused.stderr.contains("1 unused submission"), "{refused:?}");
    assert!(refused.stderr.contains("--yes"), "{refused:?}");
    let restarted =
        Finished::of(roles.command(&["migrate", "--json"]).env("RETENTION", "1s").output().expect("it runs"));
    assert!(restarted.code == Some(0) && restarted.stderr.contains("2 finished jobs"), "{restarted:?}");
    for job in &jobs {
        assert_eq!(alice.get(&format!("/jobs/{job}")).await.status, 200, "nothing was changed");
    }
    assert_eq!(set(&roles, &["--retention", "1s", "--submission-ttl", "1s", "--yes"]).code, Some(0));
    for gone in [format!("/jobs/{}", jobs[0]), format!("/submissions/{unused}")] {
        until("it expires", PATIENCE, async || (alice.get(&gone).await.status == 404).then_some(())).await;
    }
}
