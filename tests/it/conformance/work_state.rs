//! Turns, nudges, presences and durations: what processes tell each other beside the log.

use std::time::Duration;

use adapters::ids::SystemIds;
use events::JobCommand;
use events::execute::ExecuteError;
use events::ports::{DurationsPort, Ids, JobQueuePort, LeaderLease, NudgePort, Presence, WorkStatePort, WorkersPort};
use leadersboard_tests::wait::until;

use super::{Bench, consumer};

#[tokio::test]
async fn a_turn_is_one_process_s_until_it_passes() {
    let bench = Bench::new().await;
    let port: &dyn WorkStatePort = &bench.redis;
    let (long, short) = (Duration::from_mins(1), Duration::from_millis(50));
    assert_eq!(port.take_leader_lease(LeaderLease::Reconciling, "one", short).await, Ok(true));
    assert_eq!(port.take_leader_lease(LeaderLease::Reconciling, "two", long).await, Ok(false));
    assert_eq!(port.take_leader_lease(LeaderLease::Reconciling, "one", short).await, Ok(true), "who has it keeps it");
    let passes =
        async || port.take_leader_lease(LeaderLease::Reconciling, "two", long).await.ok().filter(|taken| *taken);
    until("it passes to another", Duration::from_secs(10), passes).await;
    assert_eq!(port.take_leader_lease(LeaderLease::Reconciling, "one", long).await, Ok(false));
    assert_eq!(port.take_leader_lease(LeaderLease::Expiring, "one", long).await, Ok(true), "each turn is apart");
}

#[tokio::test]
async fn a_nudge_reaches_everybody_who_listens() {
    let bench = Bench::new().await;
    let port: &dyn NudgePort = &bench.redis;
    let job = SystemIds.job();
    port.nudge(job).await.expect("nobody has to listen");
    let mut listeners = [port.nudges().await.expect("it"), port.nudges().await.expect("it")];
    port.nudge(job).await.expect("nudged");
    for listener in &mut listeners {
        assert_eq!(listener.next().await, Some(job));
    }
}

#[tokio::test]
async fn a_worker_is_known_by_what_it_tells_and_by_what_it_holds() {
    let bench = Bench::new().await;
    let (port, queue): (&dyn WorkersPort, &dyn JobQueuePort) = (&bench.redis, &bench.redis);
    let classes = ["small".parse().expect("a class")];
    let [tells, holds, neither] = ["tells-1", "holds-1", "neither-1"].map(consumer);
    bench.enqueue("small").await;
    for worker in [&holds, &tells, &neither] {
        let mut reader = queue.reader(worker, &classes).await.expect("a reader");
        reader.claim(1, Duration::from_millis(1)).await.expect("a claim");
    }
    let presence = Presence {
        worker: tells.clone(),
        host: "host".to_owned(),
        pid: 7,
        version: "0".to_owned(),
        classes: classes.to_vec(),
        slots: 2,
        busy: 1,
        draining: false,
        sandbox: String::new(),
        gpus: vec![],
        unfit: None,
    };
    port.announce(&presence, Duration::from_mins(1)).await.expect("told");
    let seen = port.workers(&classes).await.expect("workers");
    let of = |name: &events::Consumer| seen.iter().find(|seen| seen.worker == *name).expect("it is known");
    assert_eq!((of(&tells).presence.as_ref(), of(&tells).tickets), (Some(&presence), 0));
    assert!(of(&tells).silent.is_some_and(|silent| silent < Duration::from_secs(30)));
    assert_eq!((of(&holds).presence.as_ref(), of(&holds).tickets), (None, 1));

    assert_eq!(port.forget_dead(&classes).await, Ok(1), "only who holds nothing and tells nothing");
    port.withdraw(&tells).await.expect("withdrawn");
    assert_eq!(port.forget_dead(&classes).await, Ok(1));
    let left: Vec<_> = port.workers(&classes).await.expect("workers").into_iter().map(|seen| seen.worker).collect();
    assert_eq!(left, [holds]);
}

#[tokio::test]
async fn the_newest_hundred_durations_of_a_class_are_kept_for_a_while() {
    let bench = Bench::new().await;
    let port: &dyn DurationsPort = &bench.redis;
    let [small, medium] = ["small", "medium"].map(|name| name.parse().expect("a class"));
    assert_eq!(port.recent(&small).await, Ok(vec![]));
    let took: Vec<Duration> = (0..120_u64).map(|number| Duration::from_millis(number * 1_001)).collect();
    for duration in &took {
        port.note(&small, *duration).await.expect("noted");
    }
    let newest: Vec<Duration> = took.into_iter().rev().take(100).collect();
    assert_eq!(port.recent(&small).await, Ok(newest));
    assert_eq!(port.recent(&medium).await, Ok(vec![]), "each class has its own");
    let mut raw = bench.raw().await;
    let left_s: i64 =
        redis::cmd("TTL").arg(bench.keys.durations(&small)).query_async(&mut raw).await.expect("a time to live");
    assert!((6 * 24 * 3_600..=7 * 24 * 3_600).contains(&left_s), "{left_s}");
    bench.check(leadersboard_tests::invariants::Expect::AllEnded).await;
}

#[tokio::test]
async fn a_key_of_another_type_refuses_a_commit_whole_until_it_is_set_aside() {
    let bench = Bench::new().await;
    let port: &dyn WorkStatePort = &bench.redis;
    let small = "small".parse().expect("a class");
    let mut raw = bench.raw().await;
    for key in [bench.keys.leases(), bench.keys.open(), bench.keys.queue(&small), bench.keys.pending(&small)] {
        for key in [&key, &bench.keys.quarantine()] {
            let _: () = redis::cmd("SET").arg(key).arg(b"\xff").query_async(&mut raw).await.expect("set");
        }
        let log: u64 = redis::cmd("XLEN").arg(bench.keys.events()).query_async(&mut raw).await.expect("a length");
        let enqueue = JobCommand::Enqueue(bench.spec("alice", "small"));
        let refused = bench.command(SystemIds.job(), &enqueue).await;
        assert!(matches!(&refused, Err(ExecuteError::Defect(why)) if why.to_string().contains(&key)), "{refused:?}");
        let now: u64 = redis::cmd("XLEN").arg(bench.keys.events()).query_async(&mut raw).await.expect("a length");
        assert_eq!(now, log, "nothing was written");
        assert_eq!(port.tidy(std::slice::from_ref(&small)).await, Ok(1), "{key}");
        assert_eq!(port.tidy(std::slice::from_ref(&small)).await, Ok(0), "{key}");
    }
    bench.enqueue("small").await;
    bench.check(leadersboard_tests::invariants::Expect::SomeOpen).await;
}
