//! Entries in Redis that nothing of ours wrote: garbage, half entries, wrong types. Each sweep passes them over.

use std::time::Duration;

use leadersboard_tests::board::Finished;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use super::INSTANT;

/// More than a page of any sweep has.
const MANY: usize = 300;
const PATIENCE: Duration = Duration::from_mins(1);

/// Members that are no ids, of every kind.
fn garbage() -> Vec<Vec<u8>> {
    let mut garbage: Vec<Vec<u8>> =
        [&b"\xff\xfe\x00\r\n"[..], b"", b"not-an-id", b"0192F1C3A4B57C6D8E9FA0B1C2D3E4F5", b"nan"]
            .map(<[u8]>::to_vec)
            .into();
    garbage.push(vec![b'x'; 1 << 20]);
    garbage.extend((0..MANY).map(|number| format!("garbage-{number}").into_bytes()));
    garbage
}

/// Ids of jobs that there never were.
fn strangers() -> impl Iterator<Item = Vec<u8>> {
    (0..MANY).map(|number| format!("0192f1c3a4b57c6d8e9f{number:012x}").into_bytes())
}

async fn run(redis: &mut MultiplexedConnection, words: &[&[u8]]) {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    let _: redis::Value = command.query_async(redis).await.expect("it runs");
}

async fn plant(redis: &mut MultiplexedConnection, keys: &Keyspace) {
    let (alice, small, medium) =
        ("alice".parse().expect("a name"), "small".parse().expect("a class"), "medium".parse().expect("a class"));
    // Strangers are only told from jobs where what is there follows from a job's state.
    let by_state = [
        (keys.delayed(), "-inf"),
        (keys.pending(&small), "+inf"),
        (keys.user_active(&alice), "1"),
        (keys.user_held(&alice), "-inf"),
        (keys.user_delayed(&alice), "0"),
        (keys.dead_letters(), "1"),
        (keys.untracked(), "+inf"),
    ];
    let by_id = [
        (keys.jobs(), "-inf"),
        (keys.submissions(), "1"),
        (keys.user_jobs(&alice), "-1.5"),
        (keys.rate(&alice), "inf"),
    ];
    for (key, score) in by_state.iter().chain(&by_id) {
        for member in garbage() {
            run(redis, &[b"ZADD", key.as_bytes(), score.as_bytes(), &member]).await;
        }
    }
    for (key, score) in &by_state {
        for member in strangers() {
            run(redis, &[b"ZADD", key.as_bytes(), score.as_bytes(), &member]).await;
        }
    }
    let (open, leases, queue) = (keys.open(), keys.leases(), keys.queue(&small));
    for member in garbage() {
        run(redis, &[b"SADD", open.as_bytes(), &member]).await;
        run(redis, &[b"HSET", leases.as_bytes(), &member, b"0123456789abcdef01234567 3 1000 w-gone small 1-1"]).await;
        run(
            redis,
            &[b"HSET", leases.as_bytes(), format!("0192f1c3a4b57c6d8e9f{:012x}", member.len()).as_bytes(), &member],
        )
        .await;
        run(redis, &[b"XADD", queue.as_bytes(), b"*", b"job", &member]).await;
    }
    run(redis, &[b"XADD", queue.as_bytes(), b"*", b"\xff", b"\xff"]).await;
    run(redis, &[b"XGROUP", b"CREATE", queue.as_bytes(), b"\xfe", b"0"]).await;
    run(redis, &[b"XREADGROUP", b"GROUP", b"workers", b"\xff\x00", b"COUNT", b"3", b"STREAMS", queue.as_bytes(), b">"])
        .await;
    let nobody = b"0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
    run(redis, &[b"HSET", leases.as_bytes(), nobody, b"0123456789abcdef01234567 3 1000 w-gone medium 1-1"]).await;
    for other_type in [keys.queue(&medium), keys.durations(&small), keys.durations(&medium), keys.pending(&medium)] {
        run(redis, &[b"SET", other_type.as_bytes(), b"\xff"]).await;
        run(redis, &[b"EXPIRE", other_type.as_bytes(), b"600"]).await;
    }
    // Turns that would never pass.
    for turn in [keys.reconciler(), keys.expirer()] {
        run(redis, &[b"SET", turn.as_bytes(), b"\xff"]).await;
    }
    run(redis, &[b"DEL", keys.tracker().as_bytes()]).await;
    run(redis, &[b"RPUSH", keys.tracker().as_bytes(), b"garbage"]).await;
    run(redis, &[b"EXPIRE", keys.tracker().as_bytes(), b"600"]).await;
    run(redis, &[b"XADD", keys.quarantine().as_bytes(), b"*", b"\xff", b"\xff"]).await;
    run(redis, &[b"EXPIRE", keys.quarantine().as_bytes(), b"600"]).await;
}

#[tokio::test]
async fn nothing_unreadable_keeps_a_sweep_from_all_else_and_doctor_removes_it() {
    let mut roles = Roles::new().await;
    roles.limits.extend([("MAX_CONCURRENT_RUNNING", "1"), ("CONCURRENCY_POLICY", "queue")]);
    let (_api, alice) = roles.api();
    let keys = Keyspace::default();
    let mut redis = roles.redis.connection().await;
    let dies = roles.worker("dies", "1s");
    let gate = roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    let running = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&running, "running").await;
    let instant = alice.submit(INSTANT).await;
    // Held: one whose status is no hash, one whose status makes no sense, and one that is well.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(alice.enqueue(&instant, json!({})).await);
    }
    dies.signal(Signal::SIGKILL);
    plant(&mut redis, &keys).await;
    let key = |job: &str| keys.job(job.parse().expect("an id"));
    run(&mut redis, &[b"SET", key(&held[0]).as_bytes(), b"\xff"]).await;
    run(&mut redis, &[b"HSET", key(&held[1]).as_bytes(), b"lost", b"much"]).await;
    // Half a lease, as of a write that was cut.
    run(&mut redis, &[b"HSET", keys.leases().as_bytes(), running.as_bytes(), b"0123456789abcdef01234567 3"]).await;
    run(&mut redis, &[b"SET", keys.worker(&"dies-1".parse().expect("a name")).as_bytes(), b"\xff", b"EX", b"600"])
        .await;
    std::fs::write(&gate, "").expect("the gate");

    let _next = roles.worker("next", "1s");
    // The lost worker's job is taken from it, waits for its retry, and runs; then the held one that is well.
    let shown = alice.wait_for(&running, "completed").await;
    assert_eq!(shown["attempt"], 2, "{shown}");
    alice.wait_for(&held[2], "completed").await;
    let quarantined = redis::cmd("XLEN").arg(keys.quarantine()).query_async::<usize>(&mut redis).await;
    assert!(quarantined.is_ok_and(|count| count > MANY), "what was in the way is kept for a while");
    let listed =
        roles.command(&["dlq", "list", "--quarantine", "--json", "--limit", "2000"]).output().expect("it runs");
    let listed = Finished::of(listed).json();
    let from = |name: &str| listed["quarantine"].as_array().expect("a list").iter().any(|entry| entry["from"] == name);
    // The newest 1,000 are kept.
    assert!(from("user:alice:delayed"), "{listed}");

    // The two that can't be read wait for the log to tell what they are.
    let repaired = roles.command(&["doctor", "--repair", "--json"]).output().expect("the binary runs");
    let rows = Finished::of(repaired).json();
    let found = rows[0]["found"].as_str().expect("a sentence");
    assert!(found.contains("moved into quarantine") && found.contains("2 unreadable records"), "{found}");
    for job in &held[..2] {
        alice.wait_for(job, "completed").await;
    }
    let swept = async || {
        let left: usize = redis::cmd("HLEN").arg(keys.leases()).query_async(&mut redis.clone()).await.ok()?;
        (left == 0).then_some(())
    };
    until("the leases are gone", PATIENCE, swept).await;
    // While they could not be read, they had no part in the slots.
    check(&roles.redis.url(), &keys, Expect::AllEndedWhateverTheClock).await;
}
