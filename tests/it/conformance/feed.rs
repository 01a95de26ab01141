//! The feed of events: all that is appended to a job, to each who listens, through whatever happens to the connection.

use std::time::Duration;

use adapters::redis::{Redis, RedisFeed};
use events::ports::{EventFeed, EventFeedPort, Heard};
use events::{JobCommand, JobId};
use leadersboard_tests::invariants::Expect;
use leadersboard_tests::redis_server::{come_back_as_at, cut_all_others, dump};
use leadersboard_tests::wait::{scaled, until, until_equal};
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::Bench;

/// How long anything may take that is to come.
const SOON: Duration = Duration::from_secs(20);

impl Bench {
    /// The feed of another process than the one that commits.
    async fn feed(&self) -> RedisFeed {
        RedisFeed::new(Redis::connect(&self.server.url(), self.keys.clone()).await.expect("Redis"))
    }

    async fn cancel(&self, job: JobId) {
        let by = "alice".parse().expect("a name");
        let cancel = JobCommand::RequestCancel { by, force: events::job::CancelMode::Graceful };
        self.command(job, &cancel).await.expect("cancelled");
    }
}

async fn heard(feed: &mut Box<dyn EventFeed>) -> Heard {
    timeout(scaled(SOON), feed.next()).await.expect("something is heard")
}

/// The next event: whose it is, and its number.
async fn next(feed: &mut Box<dyn EventFeed>) -> (String, u64) {
    match heard(feed).await {
        Heard::Event(entry) => (entry.event.aggregate.clone(), entry.event.seq),
        Heard::Missed => panic!("nothing was missed"),
    }
}

/// Appends to the log as a commit would, without any state behind it.
async fn append(raw: &mut MultiplexedConnection, bench: &Bench, job: JobId, seqs: std::ops::Range<u64>) {
    let mut appends = redis::pipe();
    for seq in seqs {
        let (aggregate, seq) = (format!("job:{job}"), seq.to_string());
        let append = appends.cmd("XADD").arg(bench.keys.events()).arg("*");
        append.arg(&["type", "job.dispatched", "v", "1", "agg", &aggregate, "seq", &seq, "data", "{}"]);
        append.arg(&["at", "2026-11-23T10:00:00.000001Z", "actor", "system:test", "trace", ""]).ignore();
    }
    let () = appends.query_async(raw).await.expect("appended");
}

/// How many connections Redis has, and how many of them wait for entries of a stream.
async fn connections(raw: &mut MultiplexedConnection) -> (usize, usize) {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(raw).await.expect("the clients");
    (list.lines().count(), list.lines().filter(|line| line.contains(" cmd=xread ")).count())
}

#[tokio::test]
async fn whoever_listens_hears_all_of_the_job_and_nothing_of_others() {
    let bench = Bench::new().await;
    let (one, other) = (bench.feed().await, bench.feed().await);
    let [watched, unwatched] = [bench.enqueue("small").await, bench.enqueue("small").await];
    let mut feeds = [
        one.subscribe(watched).await.expect("subscribed"),
        one.subscribe(watched).await.expect("subscribed"),
        other.subscribe(watched).await.expect("subscribed"),
    ];
    bench.cancel(unwatched).await;
    bench.cancel(watched).await;
    let name = format!("job:{watched}");
    for feed in &mut feeds {
        // What was appended before may be heard of too.
        let mut event = next(feed).await;
        if event.1 == 1 {
            event = next(feed).await;
        }
        assert_eq!(event, (name.clone(), 2));
    }
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn one_who_lags_is_told_so_and_holds_up_nobody() {
    let bench = Bench::new().await;
    let feed = bench.feed().await;
    let mut raw = bench.raw().await;
    let job = bench.enqueue("small").await;
    let mut lags = feed.subscribe(job).await.expect("subscribed");
    let mut follows = feed.subscribe(job).await.expect("subscribed");
    for seq in 2..1_002 {
        append(&mut raw, &bench, job, seq..seq + 1).await;
        assert_eq!(next(&mut follows).await.1, seq);
    }
    assert_eq!(heard(&mut lags).await, Heard::Missed);
    // The newest are still to be had.
    let mut last = 0;
    while last < 1_001 {
        last = next(&mut lags).await.1;
    }
}

#[tokio::test]
async fn what_is_appended_while_the_connection_is_gone_is_heard_afterwards() {
    let bench = Bench::new().await;
    let feed = bench.feed().await;
    let mut raw = bench.raw().await;
    let job = bench.enqueue("small").await;
    let mut listener = feed.subscribe(job).await.expect("subscribed");
    append(&mut raw, &bench, job, 2..3).await;
    assert_eq!(next(&mut listener).await.1, 2);
    for round in 1..=5_u64 {
        let first = 3 * round;
        cut_all_others(&mut raw).await;
        append(&mut raw, &bench, job, first..first + 3).await;
        let mut heard_of = Vec::new();
        let mut missed = false;
        while heard_of.len() < 3 {
            match heard(&mut listener).await {
                Heard::Event(entry) => heard_of.push(entry.event.seq),
                Heard::Missed => missed = true,
            }
        }
        assert!(missed, "after an outage everybody looks for themselves");
        assert_eq!(heard_of, [first, first + 1, first + 2]);
    }
}

#[tokio::test]
async fn a_log_that_lost_what_the_reader_has_seen_is_followed_from_its_end() {
    let bench = Bench::new().await;
    let feed = bench.feed().await;
    let mut raw = bench.raw().await;
    let job = bench.enqueue("small").await;
    let mut listener = feed.subscribe(job).await.expect("subscribed");
    let before = dump(&mut raw).await;
    // An id of the far future, as a clock gives that is then set back.
    let mut far = redis::cmd("XADD");
    far.arg(bench.keys.events()).arg("99999999999999-0").arg(&["agg", &format!("job:{job}")]);
    let _: String = far.query_async(&mut raw).await.expect("appended");
    assert_eq!(heard(&mut listener).await, Heard::Missed, "it can't be read");
    come_back_as_at(&mut raw, &before).await;
    cut_all_others(&mut raw).await;
    assert_eq!(heard(&mut listener).await, Heard::Missed, "what it knows may be gone");
    append(&mut raw, &bench, job, 2..3).await;
    assert_eq!(next(&mut listener).await.1, 2);
}

#[tokio::test]
async fn there_is_one_reader_while_anybody_listens_and_none_otherwise() {
    let bench = Bench::new().await;
    let feed = bench.feed().await;
    let mut raw = bench.raw().await;
    let (idle, _) = connections(&mut raw).await;
    let jobs = [bench.enqueue("small").await, bench.enqueue("small").await];
    for round in 0..2 {
        let subscriptions = (0..50).map(|n| feed.subscribe(jobs[n % 2]));
        let mut listeners = futures::future::try_join_all(subscriptions).await.expect("subscribed");
        until_equal("one reader", SOON, (idle + 1, 1), async || connections(&mut raw).await).await;
        append(&mut raw, &bench, jobs[0], 2 + round..3 + round).await;
        for listener in listeners.iter_mut().step_by(2) {
            until("it is heard", SOON, async || (next(listener).await.1 == 2 + round).then_some(())).await;
        }
        drop(listeners);
        until_equal("no reader", SOON, (idle, 0), async || connections(&mut raw).await).await;
    }
}
