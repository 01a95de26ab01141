//! Tickets: each in one pair of hands, none lost on the way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use adapters::ids::SystemIds;
use events::ports::{Claim, Heartbeat, Ids, JobQueuePort, QueueDepth, TicketReader};
use events::{ClassName, Consumer, JobCommand, LossCause};
use leadersboard_tests::invariants::Expect;

use super::{Bench, MemoryLimit, consumer};

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

fn classes() -> Vec<ClassName> {
    ["small", "medium"].map(|name| name.parse().expect("a class")).into()
}

async fn reader(bench: &Bench, name: &str) -> (Consumer, Box<dyn TicketReader>) {
    let queue: &dyn JobQueuePort = &bench.redis;
    let consumer = consumer(name);
    let reader = queue.reader(&consumer, &classes()).await.expect("a reader");
    (consumer, reader)
}

async fn claim_one(reader: &mut Box<dyn TicketReader>) -> Claim {
    let claims = reader.claim(1, LONG).await.expect("tickets");
    assert_eq!(claims.len(), 1);
    claims[0].clone()
}

#[tokio::test]
async fn a_ticket_is_claimed_once_and_never_more_than_there_are_permits() {
    let bench = Bench::new().await;
    for class in ["small", "medium", "small", "medium", "small"] {
        bench.enqueue(class).await;
    }
    let ((_, mut one), (_, mut two)) = (reader(&bench, "w-1").await, reader(&bench, "w-2").await);
    let first = one.claim(1, SOON).await.expect("tickets");
    assert_eq!(first.len(), 1, "one permit, one ticket, though two classes have some");
    let second = two.claim(3, SOON).await.expect("tickets");
    assert_eq!(second.len(), 3);
    let rest = one.claim(9, SOON).await.expect("tickets");
    let mut jobs: Vec<_> = first.iter().chain(&second).chain(&rest).map(|claim| claim.job).collect();
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 5, "each job once");
    assert_eq!(two.claim(9, SOON).await, Ok(vec![]));
    assert_eq!(two.claim(0, LONG).await, Ok(vec![]), "no permit, no wait");
}

#[tokio::test]
async fn no_class_starves_another() {
    let bench = Bench::new().await;
    for class in ["small", "small", "small", "medium"] {
        bench.enqueue(class).await;
    }
    let (_, mut reader) = reader(&bench, "w-1").await;
    let claims = [claim_one(&mut reader).await, claim_one(&mut reader).await];
    assert!(claims.iter().any(|claim| claim.ticket.class.as_str() == "medium"), "{claims:?}");
}

#[tokio::test]
async fn a_waiting_claim_wakes_for_a_ticket_of_any_class() {
    let bench = Bench::new().await;
    let (_, mut reader) = reader(&bench, "w-1").await;
    for class in ["small", "medium"] {
        let began = Instant::now();
        let (claims, job) = tokio::join!(reader.claim(1, LONG), async {
            tokio::time::sleep(SOON).await;
            bench.enqueue(class).await
        });
        assert_eq!(claims.expect("tickets")[0].job, job);
        assert!(began.elapsed() < LONG / 2, "it did not wait to the end");
    }
}

#[tokio::test]
async fn a_claim_that_is_given_up_loses_nothing() {
    let bench = Bench::new().await;
    let (_, mut reader) = reader(&bench, "w-1").await;
    for _ in 0..20 {
        let given_up = tokio::time::timeout(SOON, reader.claim(1, LONG)).await;
        assert!(given_up.is_err(), "it waited");
        let job = bench.enqueue("small").await;
        // Given up at any point, also between the ticket's delivery and its answer.
        let ticket = match tokio::time::timeout(Duration::from_micros(300), reader.claim(1, LONG)).await {
            Ok(claims) => claims.expect("tickets").remove(0),
            Err(_) => claim_one(&mut reader).await,
        };
        assert_eq!(ticket.job, job);
        let fence = bench.start(&ticket, &consumer("w-1")).await;
        bench.complete(job, &fence).await;
    }
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn after_an_error_a_reader_gives_first_what_it_holds() {
    let bench = Bench::new().await;
    let job = bench.enqueue("small").await;
    let (_, mut reader) = reader(&bench, "w-1").await;
    let claim = claim_one(&mut reader).await;
    let mut raw = bench.raw().await;
    let _: () = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query_async(&mut raw)
        .await
        .expect("killed");
    assert!(reader.claim(1, SOON).await.is_err());
    assert_eq!(claim_one(&mut reader).await, claim);
    assert_eq!(claim.job, job);
}

#[tokio::test]
async fn a_heartbeat_is_heard_by_its_fence_alone() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let job = bench.enqueue("small").await;
    let (worker, mut reader) = reader(&bench, "w-1").await;
    let claim = claim_one(&mut reader).await;
    assert_eq!(queue.lease(job).await, Ok(None));
    let fence = bench.start(&claim, &worker).await;
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Ok));
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Ok));
    let stranger = "ffffffffffffffffffffffff".parse().expect("a fence");
    assert_eq!(queue.heartbeat(job, &stranger, &worker).await, Ok(Heartbeat::Lost));
    let lease = queue.lease(job).await.expect("Redis").expect("a lease");
    assert_eq!((lease.beat, &lease.fence, &lease.worker, &lease.ticket), (2, &fence, &worker, &claim.ticket));

    let cancel =
        JobCommand::RequestCancel { by: "alice".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    bench.command(job, &cancel).await.expect("asked");
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Cancel));
    bench.command(job, &JobCommand::AcknowledgeCancel { fence: fence.clone() }).await.expect("ended");
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Lost));
    bench.check(Expect::AllEnded).await;
}

/// Who holds the only pending ticket, and how often it was delivered.
async fn holder(bench: &Bench) -> (String, u64) {
    let key = bench.keys.queue(&"small".parse().expect("a class"));
    let pending: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
        .arg(&[&key, "workers", "-", "+", "10"])
        .query_async(&mut bench.raw().await)
        .await
        .expect("the pending list");
    assert_eq!(pending.len(), 1);
    (pending[0].1.clone(), pending[0].3)
}

#[tokio::test]
async fn a_heartbeat_takes_its_ticket_back_from_whoever_has_it() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let job = bench.enqueue("small").await;
    let (worker, mut one) = reader(&bench, "w-1").await;
    let claim = claim_one(&mut one).await;
    let fence = bench.start(&claim, &worker).await;
    let key = bench.keys.queue(&claim.ticket.class);
    let mut raw = bench.raw().await;
    let (ticket, workers) = (claim.ticket.id.to_string(), "workers");
    let _: redis::Value = redis::cmd("XCLAIM")
        .arg(&[&key, workers, "thief", "0", &ticket, "JUSTID"])
        .query_async(&mut raw)
        .await
        .expect("taken");
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Ok));
    assert_eq!(holder(&bench).await, ("w-1".to_owned(), 1), "and the delivery count stands");

    let _: redis::Value =
        redis::cmd("XGROUP").arg(&["DESTROY", &key, workers]).query_async(&mut raw).await.expect("destroyed");
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Ok));
    assert_eq!(holder(&bench).await.0, "w-1", "a group that was destroyed is made anew");

    // The new group hands the running job's ticket out again; its start is refused and its holder keeps it.
    let (_, mut two) = reader(&bench, "w-2").await;
    for claim in two.claim(1, SOON).await.expect("tickets") {
        let start =
            super::start(&"0123456789abcdef01234567".parse().expect("a fence"), &claim.ticket, &consumer("w-2"));
        assert!(bench.command(job, &JobCommand::Start(start)).await.is_err());
    }
    assert_eq!(queue.heartbeat(job, &fence, &worker).await, Ok(Heartbeat::Ok));
    bench.complete(job, &fence).await;
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_ticket_is_discarded_only_by_its_holder() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    bench.enqueue("small").await;
    let (worker, mut reader) = reader(&bench, "w-1").await;
    let claim = claim_one(&mut reader).await;
    let depth = async || queue.depth(&claim.ticket.class).await.expect("a depth");
    queue.discard(&consumer("w-2"), &claim.ticket).await.expect("no error");
    assert_eq!((depth().await.waiting, depth().await.claimed), (0, 1));
    queue.discard(&worker, &claim.ticket).await.expect("no error");
    assert_eq!((depth().await.waiting, depth().await.claimed), (0, 0));
}

#[tokio::test]
async fn what_the_dead_held_is_handed_to_the_living() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let (dead, mut reader_of_dead) = reader(&bench, "w-dead").await;
    let started = bench.enqueue("small").await;
    let claim = claim_one(&mut reader_of_dead).await;
    let fence = bench.start(&claim, &dead).await;
    let waiting = bench.enqueue("medium").await;
    claim_one(&mut reader_of_dead).await;
    queue.retire(&dead, &classes()).await.expect("no error");

    let alive = consumer("w-alive");
    let mut adopted = queue.adopt(&dead, &alive, &classes()).await.expect("tickets");
    adopted.sort_by_key(|claim| claim.job);
    assert_eq!(adopted.iter().map(|claim| claim.job).collect::<Vec<_>>(), [started, waiting], "retiring lost nothing");
    let lose = JobCommand::LoseLease { fence, cause: LossCause::WorkerLost, error: "it died".to_owned() };
    bench.command(started, &lose).await.expect("given back");
    assert_eq!(queue.due(10, bench.policy.longest_retry_wait()).await, Ok(vec![]), "not before its time");
    let due = leadersboard_tests::wait::until("it is due", Duration::from_secs(5), async || {
        queue.due(10, bench.policy.longest_retry_wait()).await.ok().filter(|due| !due.is_empty())
    });
    assert_eq!(due.await, [started]);
    bench.command(started, &JobCommand::Dispatch).await.expect("dispatched");
    let fence = bench.start(&adopted[1], &alive).await;
    bench.complete(waiting, &fence).await;
    let (worker, mut reader) = reader(&bench, "w-next").await;
    let again = claim_one(&mut reader).await;
    assert_eq!(again.job, started);
    let fence = bench.start(&again, &worker).await;
    bench.complete(started, &fence).await;
    bench.check(Expect::AllEnded).await;
    let consumers: Vec<redis::Value> = redis::cmd("XINFO")
        .arg(&["CONSUMERS", &bench.keys.queue(&again.ticket.class), "workers"])
        .query_async(&mut bench.raw().await)
        .await
        .expect("consumers");
    assert!(!format!("{consumers:?}").contains("w-dead"), "{consumers:?}");
}

#[tokio::test]
async fn a_ticket_that_was_never_started_is_replaced_unless_it_was_after_all() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let small: ClassName = "small".parse().expect("a class");
    assert_eq!(queue.unstarted(&small).await, Ok(vec![]), "no stream is no error");
    let (started, waiting) = (bench.enqueue("small").await, bench.enqueue("small").await);
    let (worker, mut one) = reader(&bench, "w-1").await;
    let claims = one.claim(2, LONG).await.expect("tickets");
    let both = queue.unstarted(&small).await.expect("tickets");
    assert_eq!(both.iter().map(|ticket| ticket.job).collect::<Vec<_>>(), [started, waiting]);
    assert_eq!((&both[0].holder, both[0].deliveries), (&worker, 1));

    let fence = bench.start(&claims[0], &worker).await;
    let leases = queue.leases().await.expect("leases");
    assert_eq!(leases.iter().map(|(job, lease)| (*job, &lease.fence)).collect::<Vec<_>>(), [(started, &fence)]);
    assert_eq!(queue.reissue(&both[0]).await, Ok(false), "it was started after it was seen");
    assert_eq!(queue.unstarted(&small).await, Ok(vec![both[1].clone()]));
    assert_eq!(queue.reissue(&both[1]).await, Ok(true));
    assert_eq!(queue.reissue(&both[1]).await, Ok(false), "once");

    let (other, mut two) = reader(&bench, "w-2").await;
    let again = claim_one(&mut two).await;
    assert_eq!(again.job, waiting);
    let second = bench.start(&again, &other).await;
    bench.complete(started, &fence).await;
    bench.complete(waiting, &second).await;
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_ticket_that_cannot_be_read_goes_to_the_quarantine_and_stops_nobody() {
    let bench = Bench::new().await;
    let key = bench.keys.queue(&"small".parse().expect("a class"));
    let mut raw = bench.raw().await;
    for (field, value) in [("job", &b"no id"[..]), ("job", b"\xff\xfe"), ("what", b"x")] {
        let _: () =
            redis::cmd("XADD").arg(&key).arg("*").arg(field).arg(value).query_async(&mut raw).await.expect("added");
    }
    let job = bench.enqueue("small").await;
    let (worker, mut reader) = reader(&bench, "w-1").await;
    let claims = reader.claim(9, SOON).await.expect("tickets");
    assert_eq!(claims.iter().map(|claim| claim.job).collect::<Vec<_>>(), [job]);
    let kept: redis::streams::StreamRangeReply =
        redis::cmd("XRANGE").arg(&[&bench.keys.quarantine(), "-", "+"]).query_async(&mut raw).await.expect("a stream");
    let raw_of = |entry: &redis::streams::StreamId| {
        entry.get::<Vec<u8>>("raw:job").or_else(|| entry.get("raw:what")).expect("its raw content")
    };
    assert_eq!(kept.ids.iter().map(raw_of).collect::<Vec<_>>(), [&b"no id"[..], b"\xff\xfe", b"x"]);
    let fence = bench.start(&claims[0], &worker).await;
    bench.complete(job, &fence).await;
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_group_that_is_destroyed_under_a_waiting_reader_is_made_anew() {
    let bench = Bench::new().await;
    let (_, mut reader) = reader(&bench, "w-1").await;
    assert_eq!(reader.claim(1, SOON).await, Ok(vec![]));
    let key = bench.keys.queue(&"small".parse().expect("a class"));
    let (claims, job) = tokio::join!(reader.claim(1, Duration::from_secs(2)), async {
        tokio::time::sleep(SOON).await;
        let mut raw = bench.raw().await;
        let _: redis::Value =
            redis::cmd("XGROUP").arg(&["DESTROY", &key, "workers"]).query_async(&mut raw).await.expect("destroyed");
        bench.enqueue("small").await
    });
    let claim = match claims.expect("no error").pop() {
        Some(claim) => claim,
        None => claim_one(&mut reader).await,
    };
    assert_eq!(claim.job, job);
}

#[tokio::test]
async fn a_claim_given_up_with_its_ticket_on_the_way_gives_it_the_next_time() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let (worker, mut reader) = reader(&bench, "w-1").await;
    let small: ClassName = "small".parse().expect("a class");
    let mut on_the_way = 0;
    while on_the_way < 5 {
        let job = bench.enqueue("small").await;
        let mut given = {
            let mut claim = reader.claim(1, LONG);
            loop {
                match futures::poll!(&mut claim) {
                    std::task::Poll::Ready(claims) => break claims.expect("tickets"),
                    // Delivered, and its answer not looked at.
                    std::task::Poll::Pending if queue.depth(&small).await.expect("a depth").claimed == 1 => {
                        break vec![];
                    }
                    std::task::Poll::Pending => {}
                }
            }
        };
        on_the_way += u32::from(given.is_empty());
        let claim = match given.pop() {
            Some(claim) => claim,
            None => claim_one(&mut reader).await,
        };
        assert_eq!(claim.job, job);
        let fence = bench.start(&claim, &worker).await;
        bench.complete(job, &fence).await;
    }
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_full_redis_still_runs_what_was_accepted() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let mut raw = bench.raw().await;
    let small: ClassName = "small".parse().expect("a class");
    let key = bench.keys.queue(&small);
    let (dead, mut reader_of_dead) = reader(&bench, "w-dead").await;
    let inherited = bench.enqueue("small").await;
    claim_one(&mut reader_of_dead).await;
    let _: () = redis::cmd("XADD").arg(&[&key, "*", "job", "no id"]).query_async(&mut raw).await.expect("added");
    let (first, second) = (bench.enqueue("small").await, bench.enqueue("small").await);

    bench.limit_memory(MemoryLimit::Exceeded).await;
    let (worker, mut reader) = reader(&bench, "w-1").await;
    let adopted = queue.adopt(&dead, &worker, &classes()).await.expect("tickets");
    let mut claims = reader.claim(9, SOON).await.expect("tickets, past the one that can't be read");
    claims.extend(reader.claim(9, SOON).await.expect("tickets"));
    claims.retain(|claim| !adopted.contains(claim));
    assert_eq!(claims.iter().map(|claim| claim.job).collect::<Vec<_>>(), [first, second]);
    assert_eq!(adopted.iter().map(|claim| claim.job).collect::<Vec<_>>(), [inherited]);

    let fence = bench.start(&claims[0], &worker).await;
    assert_eq!(queue.heartbeat(first, &fence, &worker).await, Ok(Heartbeat::Ok));
    let _: redis::Value =
        redis::cmd("XGROUP").arg(&["DESTROY", &key, "workers"]).query_async(&mut raw).await.expect("destroyed");
    assert_eq!(queue.heartbeat(first, &fence, &worker).await, Ok(Heartbeat::Ok));
    bench.complete(first, &fence).await;
    for job in [inherited, second] {
        let claim = claim_one(&mut reader).await;
        assert_eq!(claim.job, job);
        let seen = queue.unstarted(&small).await.expect("tickets");
        assert_eq!(queue.reissue(&seen[0]).await, Ok(true));
    }
    for job in [inherited, second] {
        let claim = claim_one(&mut reader).await;
        assert_eq!(claim.job, job);
        let fence = bench.start(&claim, &worker).await;
        bench.complete(job, &fence).await;
    }
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_held_ticket_that_vanished_stops_nobody() {
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let small: ClassName = "small".parse().expect("a class");
    let mut raw = bench.raw().await;
    let (worker, mut one) = reader(&bench, "w-1").await;
    for _ in 0..3 {
        bench.enqueue("small").await;
    }
    let claims = one.claim(3, LONG).await.expect("tickets");
    for claim in &claims[..2] {
        let (key, id) = (bench.keys.queue(&small), claim.ticket.id.to_string());
        let _: () = redis::cmd("XDEL").arg(&[key, id]).query_async(&mut raw).await.expect("deleted");
    }
    drop(one);
    let (_, mut again) = reader(&bench, "w-1").await;
    assert_eq!(claim_one(&mut again).await, claims[2], "what is left is found again");

    let (dead, mut reader_of_dead) = reader(&bench, "w-dead").await;
    bench.enqueue("small").await;
    let claim = claim_one(&mut reader_of_dead).await;
    let (key, id) = (bench.keys.queue(&small), claim.ticket.id.to_string());
    let _: () = redis::cmd("XDEL").arg(&[&key, &id]).query_async(&mut raw).await.expect("deleted");
    assert_eq!(queue.adopt(&dead, &worker, &classes()).await, Ok(vec![]));
    let consumers: Vec<redis::Value> =
        redis::cmd("XINFO").arg(&["CONSUMERS", &key, "workers"]).query_async(&mut raw).await.expect("consumers");
    assert!(!format!("{consumers:?}").contains("w-dead"), "{consumers:?}");
    assert_eq!(queue.depth(&small).await, Ok(QueueDepth { waiting: 0, claimed: 1 }));
}

#[tokio::test]
async fn more_tickets_than_fit_a_page_are_counted_found_again_and_handed_over_whole() {
    const TICKETS: usize = 1_100;
    let bench = Bench::new().await;
    let queue: &dyn JobQueuePort = &bench.redis;
    let (small, large): (ClassName, ClassName) = ("small".parse().expect("a class"), "large".parse().expect("a class"));
    assert_eq!(queue.depth(&large).await, Ok(QueueDepth::default()), "no stream is no error");
    let jobs: BTreeSet<_> = (0..TICKETS).map(|_| SystemIds.job()).collect();
    let mut add = redis::pipe();
    for job in &jobs {
        add.cmd("XADD").arg(&[&bench.keys.queue(&small), "*", "job", &job.to_string()]);
    }
    let _: redis::Value = add.query_async(&mut bench.raw().await).await.expect("added");
    assert_eq!(queue.depth(&small).await, Ok(QueueDepth { waiting: TICKETS as u64, claimed: 0 }));

    let (dead, mut one) = reader(&bench, "w-dead").await;
    let claims = one.claim(TICKETS - 1, LONG).await.expect("tickets");
    assert_eq!(queue.depth(&small).await, Ok(QueueDepth { waiting: 1, claimed: TICKETS as u64 - 1 }));
    let (_, mut again) = reader(&bench, "w-dead").await;
    let mut found = Vec::new();
    while found.len() < claims.len() {
        found.extend(again.claim(400.min(claims.len() - found.len()), SOON).await.expect("tickets"));
    }
    assert_eq!(found, claims);
    assert_eq!(claim_one(&mut again).await.job, *jobs.last().expect("a job"), "and then the new one");
    assert_eq!(queue.unstarted(&small).await.expect("tickets").len(), TICKETS);

    let adopted = queue.adopt(&dead, &consumer("w-alive"), &classes()).await.expect("tickets");
    assert_eq!(adopted.iter().map(|claim| claim.job).collect::<BTreeSet<_>>(), jobs);
    assert_eq!(adopted.len(), TICKETS);
}
