//! The steps of a worker that claims and runs.

use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use projections::Keyspace;

use crate::{Fault, cancel_once_it_runs, faulty, flawless, met, redis, steps, wake};

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let completes = alice.run(INSTANT).await;
    let fails = alice.run("raise SystemExit(3)").await;
    let lasts = alice.run("import time\ntime.sleep(300)\n").await;
    // A ticket too many.
    let queue = Keyspace::default().queue(&"small".parse().expect("a class"));
    redis(&mut roles.redis.connection().await, &["XADD", &queue, "*", "job", &completes]).await;

    let worker = faulty(&roles, "faulty", step, fault);
    let well = async {
        met(&roles, "faulty", step).await;
        (!fault.is_lived_through()).then(|| roles.worker("well", roles.lease))
    };
    let (_well, ()) = tokio::join!(well, cancel_once_it_runs(&alice, &lasts));
    alice.wait_for(&lasts, "cancelled").await;
    alice.wait_for(&completes, "completed").await;
    alice.wait_for(&fails, "failed").await;
    wake(&worker);
    let folded = flawless(&roles).await;
    if fault.is_lived_through() {
        let story = &folded.stories[&completes.parse().expect("an id")];
        assert_eq!(story, &["job.enqueued", "job.started", "job.completed"], "{step}, {fault:?}");
    }
}

steps! {
    world:
    before_a_claim = "claim.before",
    after_a_claim = "claim.after",
    before_a_start = "commit.job.started.before",
    after_a_start = "commit.job.started.after",
    before_a_heartbeat = "heartbeat.before",
    after_a_heartbeat = "heartbeat.after",
    before_results = "commit.job.completed.before",
    after_results = "commit.job.completed.after",
    before_a_failure = "commit.job.failed.before",
    after_a_failure = "commit.job.failed.after",
    before_a_cancel_is_acknowledged = "commit.job.cancelled.before",
    after_a_cancel_is_acknowledged = "commit.job.cancelled.after",
    before_a_ticket_is_discarded = "discard.before",
    after_a_ticket_is_discarded = "discard.after",
}
