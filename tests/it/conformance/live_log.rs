//! What runs print while they run: shown under the fence of a run that counts, heard by all who look on.

use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::redis::{Redis, RedisLogFeed};
use bytes::Bytes;
use events::ports::{Ids, JobQueuePort, LiveLogPort, LogFeed, LogFeedPort, MAX_CHUNK_BYTES, PortError, Printed, Shown};
use events::{Consumer, Fence, JobCommand, JobId, LossCause};
use leadersboard_tests::invariants::Expect;
use leadersboard_tests::redis_server::cut_all_others;
use leadersboard_tests::wait::{scaled, until_equal};
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::{Bench, MemoryLimit, consumer};

/// How long anything may take that is to come.
const SOON: Duration = Duration::from_secs(20);

impl Bench {
    /// The feed of another process than the one that shows.
    async fn log_feed(&self) -> RedisLogFeed {
        RedisLogFeed::new(Redis::connect(&self.server.url(), self.keys.clone()).await.expect("Redis"))
    }

    /// Jobs that run under a fence each.
    pub(super) async fn running(&self, count: usize) -> Vec<(JobId, Fence)> {
        let worker = consumer("w-1");
        let mut reader = self.redis.reader(&worker, &["small".parse().expect("a class")]).await.expect("a reader");
        let mut running = Vec::new();
        for _ in 0..count {
            self.enqueue("small").await;
            running.extend(self.start_next(&worker, &mut reader).await);
        }
        running
    }

    async fn start_next(
        &self,
        worker: &Consumer,
        reader: &mut Box<dyn events::ports::TicketReader>,
    ) -> Option<(JobId, Fence)> {
        let claim = reader.claim(1, SOON).await.expect("tickets").pop()?;
        Some((claim.job, self.start(&claim, worker).await))
    }

    async fn show(&self, (job, fence): &(JobId, Fence), offset: u64, bytes: &[u8]) -> Result<Shown, PortError> {
        let live: &dyn LiveLogPort = &self.redis;
        live.append(*job, fence, offset, bytes).await
    }
}

async fn heard(feed: &mut Box<dyn LogFeed>) -> Printed {
    timeout(scaled(SOON), feed.next()).await.expect("something is heard")
}

/// The next chunk: where it stands and what it says.
async fn next(feed: &mut Box<dyn LogFeed>) -> (u64, Bytes) {
    match heard(feed).await {
        Printed::Chunk(chunk) => (chunk.offset, chunk.bytes.clone()),
        Printed::Missed => panic!("nothing was missed"),
    }
}

/// How many connections Redis has, and how many of them wait for entries of a stream.
async fn connections(raw: &mut MultiplexedConnection) -> (usize, usize) {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(raw).await.expect("the clients");
    (list.lines().count(), list.lines().filter(|line| line.contains(" cmd=xread ")).count())
}

#[tokio::test]
async fn what_is_shown_is_heard_by_all_who_look_on_and_by_nobody_else() {
    let bench = Bench::new().await;
    let (one, other) = (bench.log_feed().await, bench.log_feed().await);
    let [watched, unwatched] = &bench.running(2).await[..] else { panic!("two runs") };
    assert_eq!(bench.show(watched, 0, b"before\n").await, Ok(Shown::Yes));
    let mut feeds = Vec::new();
    for feed in [&one, &one, &other] {
        feeds.push(feed.subscribe(watched.0, &watched.1).await.expect("subscribed"));
    }
    assert_eq!(bench.show(unwatched, 0, b"another's").await, Ok(Shown::Yes));
    assert_eq!(bench.show(watched, 7, b"bytes, \0 not \xff text\n").await, Ok(Shown::Yes));
    for feed in &mut feeds {
        let mut chunk = next(feed).await;
        // What was shown before may be heard of too.
        if chunk.0 == 0 {
            chunk = next(feed).await;
        }
        assert_eq!(chunk, (7, Bytes::from_static(b"bytes, \0 not \xff text\n")));
    }
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_chunk_of_a_run_that_does_not_count_is_refused() {
    let bench = Bench::new().await;
    let (worker, class) = (consumer("w-1"), "small".parse().expect("a class"));
    let mut reader = bench.redis.reader(&worker, &[class]).await.expect("a reader");
    bench.enqueue("small").await;
    let first = bench.start_next(&worker, &mut reader).await.expect("a run");
    let mut feed = bench.log_feed().await.subscribe(first.0, &first.1).await.expect("subscribed");
    assert_eq!(bench.show(&(first.0, SystemIds.fence()), 0, b"a stranger's").await, Ok(Shown::Refused));
    assert_eq!(bench.show(&(SystemIds.job(), first.1.clone()), 0, b"of no job").await, Ok(Shown::Refused));
    assert_eq!(bench.show(&first, 0, b"1").await, Ok(Shown::Yes));

    let (fence, cause, error) = (first.1.clone(), LossCause::Drain, "the worker stops".to_owned());
    let lose = JobCommand::LoseLease { fence, cause, error };
    bench.command(first.0, &lose).await.expect("lost");
    assert_eq!(bench.show(&first, 1, b"too late").await, Ok(Shown::Refused), "while nobody runs it");
    assert_eq!(next(&mut feed).await, (0, Bytes::from_static(b"1")));
    assert!(timeout(Duration::ZERO, feed.next()).await.is_err(), "nothing else was heard");
}

#[tokio::test]
async fn nothing_is_shown_of_a_job_that_has_ended() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    bench.complete(run.0, &run.1).await;
    assert_eq!(bench.show(&run, 0, b"late").await, Ok(Shown::Refused));
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_chunk_that_comes_again_changes_nothing() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    let mut feed = bench.log_feed().await.subscribe(run.0, &run.1).await.expect("subscribed");
    for (offset, bytes) in [(90, b"0123456789"), (90, b"0123456789"), (85, b"earlier..."), (1 << 60, b"far behind")] {
        assert_eq!(bench.show(&run, offset, bytes).await, Ok(Shown::Yes));
    }
    assert_eq!(next(&mut feed).await, (90, Bytes::from_static(b"0123456789")));
    assert_eq!(next(&mut feed).await, (1 << 60, Bytes::from_static(b"far behind")));
}

#[tokio::test]
async fn little_is_kept_and_not_for_long() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    let chunk = vec![b'x'; MAX_CHUNK_BYTES];
    for n in 0..200 {
        bench.show(&run, n * chunk.len() as u64, &chunk).await.expect("shown");
    }
    let key = bench.keys.log_tail(run.0, &run.1);
    let mut look = redis::pipe();
    look.cmd("XLEN").arg(&key).cmd("PTTL").arg(&key);
    let (kept, left_ms): (usize, i64) = look.query_async(&mut bench.raw().await).await.expect("a stream");
    assert!((1..=64).contains(&kept), "{kept} chunks");
    assert!((1..=300_000).contains(&left_ms), "{left_ms} ms");
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_full_redis_keeps_its_last_room_for_what_counts() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    bench.limit_memory(MemoryLimit::Exceeded).await;
    let refused = bench.show(&run, 0, b"not now").await;
    assert!(matches!(refused, Err(PortError::Unavailable(_))), "{refused:?}");
    bench.limit_memory(MemoryLimit::None).await;
    assert_eq!(bench.show(&run, 0, b"now").await, Ok(Shown::Yes));
}

#[tokio::test]
async fn one_reader_waits_for_all_and_takes_in_another_run_at_once() {
    let bench = Bench::new().await;
    let feed = bench.log_feed().await;
    let runs = bench.running(40).await;
    let mut raw = bench.raw().await;
    let (idle, _) = connections(&mut raw).await;
    let mut feeds = Vec::new();
    // Were each taken in only when a wait is over, this would take far longer than it may.
    let all = timeout(scaled(SOON), async {
        for run in &runs {
            feeds.push(feed.subscribe(run.0, &run.1).await.expect("subscribed"));
            until_equal("it waits", SOON, 1, async || connections(&mut raw).await.1).await;
            bench.show(run, 0, b"begun\n").await.expect("shown");
            assert_eq!(next(feeds.last_mut().expect("a feed")).await, (0, Bytes::from_static(b"begun\n")));
        }
    });
    all.await.expect("at once");
    assert_eq!(connections(&mut raw).await.0, idle + 1);
    drop(feeds);
    until_equal("no reader", SOON, (idle, 0), async || connections(&mut raw).await).await;
}

#[tokio::test]
async fn one_who_lags_is_told_so_and_holds_up_nobody() {
    let bench = Bench::new().await;
    let feed = bench.log_feed().await;
    let run = bench.running(1).await.remove(0);
    let mut lags = feed.subscribe(run.0, &run.1).await.expect("subscribed");
    let mut follows = feed.subscribe(run.0, &run.1).await.expect("subscribed");
    for n in 0..100 {
        bench.show(&run, n, b"x").await.expect("shown");
        assert_eq!(next(&mut follows).await.0, n);
    }
    assert_eq!(heard(&mut lags).await, Printed::Missed);
    // The newest are still to be had.
    while next(&mut lags).await.0 < 99 {}
}

#[tokio::test]
async fn what_is_shown_while_the_connection_is_gone_is_heard_afterwards() {
    let bench = Bench::new().await;
    let feed = bench.log_feed().await;
    let mut raw = bench.raw().await;
    let run = bench.running(1).await.remove(0);
    let mut listener = feed.subscribe(run.0, &run.1).await.expect("subscribed");
    for n in 0..5 {
        cut_all_others(&mut raw).await;
        until_equal("it is shown", SOON, Ok(Shown::Yes), async || bench.show(&run, n, b"x").await).await;
        let mut missed = false;
        loop {
            match heard(&mut listener).await {
                Printed::Chunk(chunk) if chunk.offset == n => break,
                Printed::Chunk(chunk) => panic!("{chunk:?} again"),
                Printed::Missed => missed = true,
            }
        }
        assert!(missed, "after an outage everybody looks for themselves");
    }
}
