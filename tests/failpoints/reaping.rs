//! The steps of a worker that takes up what another left.

use leadersboard_tests::programs::{INSTANT, gated};
use leadersboard_tests::roles::Roles;

use nix::sys::signal::Signal;
use projections::Keyspace;

use crate::{Fault, faulty, flawless, met, redis, steps, wake};

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let gate = roles.gate("gate");
    // A worker dies over a job; the next one stands in its place, under its work root.
    let dead = roles.worker("faulty", roles.lease);
    let running = alice.run(&gated(&gate)).await;
    alice.wait_for(&running, "running").await;
    dead.signal(Signal::SIGKILL);
    std::fs::write(&gate, "").expect("the gate");
    // Somebody who is gone claimed a ticket and never started its job.
    let claimed = alice.run(INSTANT).await;
    let queue = Keyspace::default().queue(&"small".parse().expect("a class"));
    let mut raw = roles.redis.connection().await;
    redis(&mut raw, &["XREADGROUP", "GROUP", "workers", "gone-1", "COUNT", "1", "STREAMS", &queue, ">"]).await;

    let worker = faulty(&roles, "faulty", step, fault);
    met(&roles, "faulty", step).await;
    let _well = (!fault.is_lived_through()).then(|| roles.worker("well", roles.lease));
    for job in [&running, &claimed] {
        alice.wait_for(job, "completed").await;
    }
    wake(&worker);
    let folded = flawless(&roles).await;
    let lost = folded.stories[&running.parse().expect("an id")].iter().filter(|kind| **kind == "job.lease_lost");
    let bound = if fault.is_lived_through() { 1 } else { 2 };
    assert!((1..=bound).contains(&lost.count()), "{step}, {fault:?}: {:?}", folded.stories);
}

steps! {
    world:
    before_tickets_are_taken_over = "adopt.before",
    after_tickets_are_taken_over = "adopt.after",
    before_a_lease_is_ended = "commit.job.lease_lost.before",
    after_a_lease_is_ended = "commit.job.lease_lost.after",
    before_a_retry_is_dispatched = "commit.job.dispatched.before",
    after_a_retry_is_dispatched = "commit.job.dispatched.after",
    before_a_ticket_is_put_back = "reissue.before",
    after_a_ticket_is_put_back = "reissue.after",
}
