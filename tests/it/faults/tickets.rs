//! Tickets that nobody should have written.

use events::JobId;
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until_equal;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;

use super::{INSTANT, RECOVERY, all_ended, assert_undisturbed, count, crew};

async fn add_ticket(redis: &mut MultiplexedConnection, field: &str, value: &[u8]) {
    let queue = Keyspace::default().queue(&"small".parse().expect("a class"));
    let _: String =
        redis::cmd("XADD").arg(queue).arg("*").arg(field).arg(value).query_async(redis).await.expect("added");
}

#[tokio::test]
async fn a_job_with_several_tickets_runs_once_whether_it_waits_runs_or_has_ended() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let mut redis = roles.redis.connection().await;
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    add_ticket(&mut redis, "job", job.as_bytes()).await;
    let _crew = crew(&roles);
    alice.wait_for(&job, "running").await;
    add_ticket(&mut redis, "job", job.as_bytes()).await;
    let queue = Keyspace::default().queue(&"small".parse().expect("a class"));
    let left = "the tickets of a running job";
    until_equal(left, RECOVERY, 1, async || count(&mut redis, "XLEN", &queue).await).await;
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    add_ticket(&mut redis, "job", job.as_bytes()).await;
    let folded = all_ended(&roles).await;
    assert_undisturbed(&roles, &folded, &[job.parse().expect("an id")]);
}

#[tokio::test]
async fn tickets_that_are_garbage_or_for_no_job_are_put_aside_and_later_jobs_run() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let mut redis = roles.redis.connection().await;
    let unknown = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
    let unreadable: [(&str, &[u8]); 4] =
        [("job", b"\xff\xfe\x00\r\n"), ("job", b"not an id"), ("sub", unknown.as_bytes()), ("\u{0}", b"")];
    for (field, value) in unreadable {
        add_ticket(&mut redis, field, value).await;
    }
    add_ticket(&mut redis, "job", unknown.as_bytes()).await;
    let _crew = crew(&roles);
    let job = alice.run(INSTANT).await;
    alice.wait_for(&job, "completed").await;
    let folded = all_ended(&roles).await;
    let job: JobId = job.parse().expect("an id");
    assert_undisturbed(&roles, &folded, &[job]);
    assert_eq!(folded.jobs.len(), 1, "no ticket makes a job");
    assert_eq!(count(&mut redis, "XLEN", &Keyspace::default().quarantine()).await, unreadable.len());
}
