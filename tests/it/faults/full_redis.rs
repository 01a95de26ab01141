//! A Redis at its memory limit.

use leadersboard_tests::client::files;
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::{INSTANT, all_ended, assert_undisturbed, crew};

async fn limit_memory(redis: &mut MultiplexedConnection, bytes: u64) {
    let mut set = redis::cmd("CONFIG");
    let _: () = set.arg(&["SET", "maxmemory"]).arg(bytes).query_async(redis).await.expect("it is set");
}

#[tokio::test]
async fn a_redis_at_its_memory_limit_takes_nothing_in_and_ends_what_it_took() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let _crew = crew(&roles);
    let gate = roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    // Four run and two wait.
    let mut jobs = Vec::new();
    for _ in 0..6 {
        jobs.push(alice.enqueue(&submission, json!({})).await);
    }
    for job in &jobs[..4] {
        alice.wait_for(job, "running").await;
    }
    let mut redis = roles.redis.connection().await;
    limit_memory(&mut redis, 1).await;
    let upload = files(&[("main.py", INSTANT), ("config.yaml", "a: 1")]);
    let refused = [alice.post("/jobs", &json!({ "submission_id": submission })).await, alice.upload(upload).await];
    for answer in refused {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.detail().contains("memory limit"), "{}", answer.detail());
    }
    std::fs::write(&gate, "").expect("the gate");
    for job in &jobs {
        alice.wait_for(job, "completed").await;
    }
    limit_memory(&mut redis, 0).await;
    jobs.push(alice.run(INSTANT).await);
    let jobs: Vec<_> = jobs.iter().map(|job| job.parse().expect("an id")).collect();
    let folded = all_ended(&roles).await;
    assert_undisturbed(&roles, &folded, &jobs);
    assert_eq!(folded.submissions.len(), 2, "the refused upload left nothing");
    let uploads = std::fs::read_dir(roles.data.path().join("uploads")).expect("the uploads").count();
    assert_eq!(uploads, 2 + 2, "two submissions, the staging folder and the board's name");
}
