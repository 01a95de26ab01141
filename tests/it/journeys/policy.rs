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
    let fresh = run(&roles, &["migrate"]);
    assert_eq!(fresh.stdout, format!("the key schema is ready (version {})\n", migrations::CURRENT));
    let (_api, alice) = roles.api();
    let defaults = run(&roles, &["policy", "show"]).stdout;
    assert!(defaults.contains("A class without memory gets the worker's share"), "{defaults}");
    let shown = run(&roles, &["policy", "show", "--json"]).json();
    assert_eq!((&shown["lease_ms"], &shown["max_retries"]), (&1_000.into(), &3.into()), "{shown}");

    let tiny = ["--resource-classes", "tiny=5s:memory=1GiB:log=2MiB"];
    let set = run(&roles, &[&["policy", "set", "--json", "--lease", "2s"], &tiny[..]].concat());
    for change in ["removed: medium, small\n", "added: tiny\n", "default: tiny, before small\n"] {
        assert!(set.stderr.contains(&format!("resource classes {change}")), "{set:?}");
    }
    let set = set.json();
    assert_eq!(set["set"]["lease_ms"], 2_000, "{set}");
    let class = json!({ "name": "tiny", "time_limit_s": 5, "memory_bytes": 1 << 30, "log_bytes": 2 << 20 });
    assert_eq!(set["set"]["classes"], json!([class]), "only what was set is stored");
    assert!(run(&roles, &["migrate"]).code == Some(0));
    let shown = run(&roles, &["policy", "show", "--json"]).json();
    assert_eq!((&shown["lease_ms"], &shown["classes"][0]["name"]), (&2_000.into(), &"tiny".into()), "{shown}");
    assert_eq!((&shown["classes"][0]["processes"], &shown["classes"][0]["gpus"]), (&4096.into(), &0.into()), "{shown}");
    let table = run(&roles, &["policy", "show"]).stdout;
    assert!(table.contains("tiny=5s:memory=1GiB:processes=4096:output=20GiB:log=2MiB:gpus=0"), "{table}");
    assert!(!table.contains("21474836480") && !table.contains("the worker's share"), "{table}");

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
        (&["policy", "set", "--resource-classes", "small=1m:memory=1MiB"], "memory of class small"),
        (&["policy", "set", "--retry-backoff", "soon"], "soon"),
        (&["worker", "--lease", "10ms"], "LEASE"),
    ] {
        let refused = run(&roles, arguments);
        assert!(refused.code != Some(0) && refused.stderr.contains(culprit), "{arguments:?}: {refused:?}");
    }
}
