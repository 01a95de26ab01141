//! The steps of a reconciler.

use leadersboard_tests::programs::{INSTANT, gated};
use leadersboard_tests::roles::Roles;
use projections::Keyspace;

use crate::{Fault, faulty, flawless, met, redis, steps, wake};

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let gate = roles.gate("gate");
    let worker = faulty(&roles, "faulty", step, fault);
    let running = alice.run(&gated(&gate)).await;
    alice.wait_for(&running, "running").await;
    let [without_ticket, stranded] = [alice.run(INSTANT).await, alice.run(INSTANT).await];

    let keys = Keyspace::default();
    let queue = keys.queue(&"small".parse().expect("a class"));
    let mut raw = roles.redis.connection().await;
    let gone = ["XREADGROUP", "GROUP", "workers", "gone-1", "COUNT", "2", "STREAMS", &queue, ">"];
    let tickets: redis::streams::StreamReadReply =
        redis::from_redis_value(redis(&mut raw, &gone).await).expect("tickets");
    redis(&mut raw, &["XDEL", &queue, &tickets.keys[0].ids[0].id]).await;
    redis(&mut raw, &["XGROUP", "DELCONSUMER", &queue, "workers", "gone-1"]).await;
    let nobodys = "0123456789abcdef01234567 3 1000 w-gone small 1-1";
    redis(&mut raw, &["HSET", &keys.leases(), "01a20b79d3b0744b828ee0cf7c2cf5f4", nobodys]).await;
    redis(&mut raw, &["HDEL", &keys.leases(), &running]).await;

    met(&roles, "faulty", step).await;
    let _well = (!fault.is_lived_through()).then(|| roles.worker("well", roles.lease));
    std::fs::write(&gate, "").expect("the gate");
    for job in [&running, &without_ticket, &stranded] {
        alice.wait_for(job, "completed").await;
    }
    wake(&worker);
    flawless(&roles).await;
}

steps! {
    world:
    before_a_ticket_is_restored = "restore_ticket.before",
    after_a_ticket_is_restored = "restore_ticket.after",
    before_a_lease_is_restored = "restore_lease.before",
    after_a_lease_is_restored = "restore_lease.after",
    before_a_lease_is_dropped = "drop_lease.before",
    after_a_lease_is_dropped = "drop_lease.after",
    before_a_stranded_ticket_is_replaced = "reissue_stranded.before",
    after_a_stranded_ticket_is_replaced = "reissue_stranded.after",
}
