//! What all roles must agree on is one thing, wherever it was given.

use std::time::Duration;

use leadersboard_tests::board::Finished;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use projections::Keyspace;
use serde_json::json;

use super::INSTANT;

fn run(roles: &Roles, arguments: &[&str]) -> Finished {
    Finished::of(roles.command(arguments).env("USER", "root").output().expect("the binary runs"))
}

#[tokio::test]
async fn what_was_set_is_every_roles_policy_and_a_default_never_overwrites_it() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let shown = run(&roles, &["policy", "show", "--json"]).json();
    assert_eq!((&shown["lease_ms"], &shown["max_retries"]), (&1_000.into(), &3.into()), "{shown}");

    let set = run(&roles, &["policy", "set", "--json", "--lease", "2s", "--resource-classes", "tiny=5s"]).json();
    assert_eq!(set["set"]["lease_ms"], 2_000, "{set}");
    assert!(run(&roles, &["migrate"]).code == Some(0));
    let shown = run(&roles, &["policy", "show", "--json"]).json();
    assert_eq!((&shown["lease_ms"], &shown["classes"][0]["name"]), (&2_000.into(), &"tiny".into()), "{shown}");

    let _worker = roles.worker("one", "30s");
    let submission = alice.submit(INSTANT).await;
    let job = until("the API follows", Duration::from_secs(30), async || {
        let asked = json!({ "submission_id": submission, "config": { "resource_class": "tiny" } });
        alice.post("/jobs", &asked).await.body["job_id"].as_str().map(str::to_owned)
    })
    .await;
    alice.wait_for(&job, "completed").await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_policy_that_would_not_work_is_refused_by_name() {
    let roles = Roles::new().await;
    let _api = roles.api();
    for (arguments, culprit) in [
        (&["policy", "set", "--lease", "10ms"][..], "LEASE"),
        (&["policy", "set", "--resource-classes", "small"], "small"),
        (&["policy", "set", "--retry-backoff", "soon"], "soon"),
        (&["worker", "--lease", "10ms"], "LEASE"),
    ] {
        let refused = run(&roles, arguments);
        assert!(refused.code != Some(0) && refused.stderr.contains(culprit), "{arguments:?}: {refused:?}");
    }
}
