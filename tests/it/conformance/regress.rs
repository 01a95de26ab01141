//! A Redis that comes back without the newest part of the event log.

use adapters::redis::Redis;
use events::ports::EventLogPort;
use leadersboard_tests::invariants::Expect;
use leadersboard_tests::redis_server::{come_back_as_at, dump};
use redis::aio::MultiplexedConnection;

use super::Bench;

async fn newest(raw: &mut MultiplexedConnection, bench: &Bench) -> String {
    let reply: redis::streams::StreamRangeReply = redis::cmd("XREVRANGE")
        .arg(&[&bench.keys.events(), "+", "-", "COUNT", "1"])
        .query_async(raw)
        .await
        .expect("it");
    reply.ids[0].id.clone()
}

async fn regresses(bench: &Bench) -> Vec<String> {
    let log: &dyn EventLogPort = &bench.redis;
    let entries = log.read(None, 1_000).await.expect("the log");
    entries.into_iter().filter(|entry| entry.event.aggregate == "log").map(|entry| entry.event.data).collect()
}

#[tokio::test]
async fn a_log_that_lost_its_newest_part_is_on_record_before_anything_else_and_once() {
    let bench = Bench::new().await;
    let other = Redis::connect(&bench.server.url(), bench.keys.clone()).await.expect("Redis");
    let mut raw = bench.raw().await;
    let kept = bench.enqueue("small").await;
    let before = dump(&mut raw).await;
    let cut_away = bench.enqueue("small").await;
    let by = || "alice".parse().expect("a name");
    let cancel = events::JobCommand::RequestCancel { by: by(), force: events::job::CancelMode::Graceful };
    // The other process has seen the part that is lost, too.
    let run = async |id| events::execute::job(&other, &bench.policy, &super::origin(), id, &cancel, 1.0).await;
    run(cut_away).await.expect("cancelled");
    let lost = newest(&mut raw, &bench).await;
    come_back_as_at(&mut raw, &before).await;

    let after = bench.enqueue("small").await;
    run(kept).await.expect("cancelled");
    assert_eq!(regresses(&bench).await.len(), 1, "once, whoever notices");
    let folded = bench.check(Expect::SomeOpen).await;
    assert!(folded.jobs.contains_key(&after) && !folded.jobs.contains_key(&cut_away));
    let log: &dyn EventLogPort = &bench.redis;
    let entries = log.read(None, 1_000).await.expect("the log");
    let first = entries.iter().position(|entry| entry.event.aggregate == "log").expect("it is on record");
    assert!(
        entries[first..].iter().any(|entry| entry.event.aggregate == format!("job:{after}")),
        "before anything else"
    );
    assert!(lost > entries[first - 1].id.to_string());
}

#[tokio::test]
async fn a_start_notices_what_was_lost_while_the_process_was_down() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("log-position");
    let mut raw = bench.raw().await;
    bench.enqueue("small").await;
    let before = dump(&mut raw).await;
    let first = Redis::connect_keeping(&bench.server.url(), bench.keys.clone(), file.clone()).await.expect("Redis");
    let enqueue = events::JobCommand::Enqueue(bench.spec("alice", "small"));
    let id = events::ports::Ids::job(&adapters::ids::SystemIds);
    events::execute::job(&first, &bench.policy, &super::origin(), id, &enqueue, 1.0).await.expect("accepted");
    let lost = newest(&mut raw, &bench).await;
    leadersboard_tests::wait::until("the position is kept", std::time::Duration::from_secs(10), async || {
        std::fs::read_to_string(&file).ok().filter(|kept| *kept == lost)
    })
    .await;
    drop(first);
    come_back_as_at(&mut raw, &before).await;

    let second = Redis::connect_keeping(&bench.server.url(), bench.keys.clone(), file).await.expect("Redis");
    let id = events::ports::Ids::job(&adapters::ids::SystemIds);
    events::execute::job(&second, &bench.policy, &super::origin(), id, &enqueue, 1.0).await.expect("accepted");
    let told = regresses(&bench).await;
    assert!(told.len() == 1 && told[0].contains(&lost), "{told:?}");
}
