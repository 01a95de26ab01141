//! The event log: whole commits or nothing, guarded, in order.

use adapters::ids::SystemIds;
use events::commit::{Change, Commit, CommitError};
use events::execute;
use events::guard::{Guard, Lane, WorkChange};
use events::job::CancelMode;
use events::ports::{Claim, EventLogPort, Ids};
use events::{Envelope, JobCommand, JobEvent, JobId, Limits, Policy, StreamId, Ticket, UserId};
use leadersboard_tests::invariants::Expect;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::{Bench, MemoryLimit, origin};

/// A commit that would accept a job, with these guards beside.
async fn acceptance(bench: &Bench, id: JobId, guards: Vec<Guard>, lane: Lane) -> Commit {
    let log: &dyn EventLogPort = &bench.redis;
    let now = log.load_job(id).await.expect("Redis's time").now;
    let event = JobEvent::Enqueued { spec: bench.spec("alice", "small"), dispatched: true };
    let envelope = Envelope { seq: 1, at: now, actor: origin().actor, trace: None, event };
    let work = vec![WorkChange::AddTicket { class: "small".parse().expect("a class"), job: id }];
    Commit { change: Change::Job { id, before: None, events: vec![envelope] }, next: None, guards, work, lane }
}

/// All that Redis holds, by key and kind of content.
async fn everything(redis: &mut MultiplexedConnection) -> (u64, Vec<(String, Vec<u8>)>) {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(redis).await.expect("the keys");
    keys.sort();
    let mut dumps = Vec::new();
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(redis).await.expect("a key");
        dumps.push((key, dump));
    }
    let size = redis::cmd("DBSIZE").query_async(redis).await.expect("the size");
    (size, dumps)
}

#[tokio::test]
async fn a_guard_that_fails_leaves_every_key_as_it_was() {
    let bench = Bench::new().await;
    let mut raw = bench.raw().await;
    let (user, job) = ("alice".parse().expect("a name"), SystemIds.job());
    let now = bench.redis.load_job(job).await.expect("Redis's time").now;
    let keys = &bench.keys;
    let (active, now_ms) = (keys.user_active(&user), now.timestamp_millis().to_string());
    let job_hash = keys.job(SystemIds.job());
    let lease = "001122334455667788990011 7 30000 w-1 small 1-0";
    // One that waits for a worker, one that runs, one held and one delayed; two accepted, given back and uploaded.
    for command in [
        vec!["ZADD", &active, "0", "a", "1", "b"],
        vec!["ZADD", &keys.user_held(&user), "1", "c"],
        vec!["ZADD", &keys.user_delayed(&user), "1", "d"],
        vec!["ZADD", &keys.rate(&user), &now_ms, "a", &now_ms, "b"],
        vec!["ZADD", &keys.refunds(&user), &now_ms, "a", &now_ms, "b"],
        vec!["ZADD", &keys.uploads(&user), &now_ms, "a", &now_ms, "b"],
        vec!["HSET", &keys.user_stored(&user), "bytes", "100"],
        vec!["SADD", &keys.submission_jobs(bench.submission), "a"],
        vec!["SET", &keys.idempotency(&user, "used"), "x"],
        vec!["HSET", &keys.leases(), &job.to_string(), lease],
        vec!["HSET", &job_hash, "v", "3"],
        vec!["HSET", &keys.policy(), "settings", r#"{"classes":[{"name":"small","time_limit_s":60}]}"#],
    ] {
        let _: redis::Value = redis::cmd(command[0]).arg(&command[1..]).query_async(&mut raw).await.expect("set");
    }
    let other: JobId = job_hash.rsplit(':').next().and_then(|id| id.parse().ok()).expect("an id");
    let nobody = || "nobody".parse().expect("a name");

    let hour_ago = now - std::time::Duration::from_hours(1);
    let key = |key: &str| Guard::IdempotencyKeyUnused { user: user.clone(), key_sha256: key.to_owned() };
    let slots = |limit| Guard::SlotsBelow { user: user.clone(), limit };
    let full = |limit| Guard::SlotsFull { user: user.clone(), limit };
    let running = |limit| Guard::RunningBelow { user: user.clone(), limit };
    let pending = |limit| Guard::PendingBelow { user: user.clone(), limit };
    let accepted = |since, limit| Guard::AcceptedBelow { user: user.clone(), since, limit };
    let refunded = |since, limit| Guard::RefundedBelow { user: user.clone(), since, limit };
    let uploads = |since, limit| Guard::UploadsBelow { user: user.clone(), since, limit };
    let stored = |bytes| Guard::StoredAtMost { user: user.clone(), bytes };
    let failing = [
        Guard::SubmissionReady(SystemIds.submission()),
        Guard::ClassOffered("huge".parse().expect("a class")),
        slots(2),
        full(3),
        running(1),
        pending(3),
        Guard::NoneHeld(user.clone()),
        Guard::JobAt { job: other, version: 2 },
        accepted(hour_ago, 2),
        refunded(hour_ago, 2),
        uploads(hour_ago, 2),
        stored(99),
        Guard::WithoutJobs(bench.submission),
        key("used"),
        Guard::LeaseBeat { job, beat: 6 },
        Guard::LeaseBeat { job: SystemIds.job(), beat: 0 },
    ];
    for guard in failing {
        let before = everything(&mut raw).await;
        // The guard that fails is the last: nothing may have been written for those before it.
        let guards = vec![Guard::SubmissionReady(bench.submission), guard.clone()];
        let refused = bench.redis.commit(acceptance(&bench, SystemIds.job(), guards, Lane::Admission).await).await;
        assert_eq!(refused, Err(CommitError::GuardFailed(guard)));
        assert_eq!(everything(&mut raw).await, before);
    }
    let holding = vec![
        Guard::SubmissionReady(bench.submission),
        Guard::ClassOffered("small".parse().expect("a class")),
        slots(3),
        full(2),
        running(2),
        pending(4),
        Guard::NoneHeld(nobody()),
        Guard::JobAt { job: other, version: 3 },
        accepted(hour_ago, 3),
        accepted(now, 1),
        refunded(hour_ago, 3),
        // The bench's own submission was uploaded too.
        uploads(hour_ago, 4),
        stored(100),
        Guard::StoredAtMost { user: nobody(), bytes: 0 },
        Guard::WithoutJobs(SystemIds.submission()),
        key("unused"),
        Guard::LeaseBeat { job, beat: 7 },
    ];
    let made = bench.redis.commit(acceptance(&bench, SystemIds.job(), holding, Lane::Admission).await).await;
    assert_eq!(made.map(|ids| ids.len()), Ok(1));
}

/// A commit of a job's next event, decided on its state as it is now.
async fn next(bench: &Bench, id: JobId, event: JobEvent) -> Commit {
    let log: &dyn EventLogPort = &bench.redis;
    let loaded = log.load_job(id).await.expect("a job");
    let seq = loaded.state.as_ref().map_or(0, |job| job.version) + 1;
    let envelope = Envelope { seq, at: loaded.now, actor: origin().actor, trace: None, event };
    let change = Change::Job { id, before: loaded.state, events: vec![envelope] };
    Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Progress }
}

#[tokio::test]
async fn of_many_who_decide_on_one_version_one_is_first() {
    let bench = Bench::new().await;
    let id = SystemIds.job();
    let by = "alice".parse().expect("a name");
    let story = [
        JobEvent::Enqueued { spec: bench.spec("alice", "small"), dispatched: true },
        JobEvent::CancelRequested { by },
        JobEvent::Cancelled { refunded: false, reason: None },
    ];
    let mut first = None;
    for event in story {
        let commit = next(&bench, id, event).await;
        let mut commits = JoinSet::new();
        for _ in 0..50 {
            let (redis, commit) = (bench.redis.clone(), commit.clone());
            commits.spawn(async move { redis.commit(commit).await });
        }
        let answers = commits.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(CommitError::Conflict))));
        first.get_or_insert(commit);
    }
    let folded = bench.check(Expect::AllEnded).await;
    assert_eq!(folded.stories[&id], ["job.enqueued", "job.cancel_requested", "job.cancelled"]);

    let mut raw = bench.raw().await;
    let before = everything(&mut raw).await;
    let late = bench.redis.commit(first.expect("the first of the three")).await;
    assert_eq!(late, Err(CommitError::Conflict));
    assert_eq!(everything(&mut raw).await, before, "who comes too late writes nothing");
}

#[tokio::test]
async fn a_commit_that_redis_refuses_writes_nothing_and_harms_no_other() {
    let bench = Bench::new().await;
    let mut raw = bench.raw().await;
    let user = "mallory".parse().expect("a name");
    let broken = bench.keys.user_active(&user);
    let _: () = redis::cmd("SET").arg(&broken).arg("no set").query_async(&mut raw).await.expect("set");
    let mut commits = JoinSet::new();
    for number in 0..60 {
        let guards = if number % 3 == 0 { vec![Guard::SlotsBelow { user: user.clone(), limit: 9 }] } else { vec![] };
        let commit = acceptance(&bench, SystemIds.job(), guards, Lane::Admission).await;
        let redis = bench.redis.clone();
        commits.spawn(async move { (number, redis.commit(commit).await) });
    }
    for (number, answer) in commits.join_all().await {
        assert_eq!(answer.is_ok(), number % 3 != 0, "{number}: {answer:?}");
        assert!(matches!(answer, Ok(_) | Err(CommitError::Defect(_))), "{number}: {answer:?}");
    }
    let _: () = redis::cmd("DEL").arg(&broken).query_async(&mut raw).await.expect("removed");
    assert_eq!(bench.check(Expect::SomeOpen).await.jobs.len(), 40);
}

#[tokio::test]
async fn commits_that_wait_together_are_each_answered_for_themselves() {
    let bench = Bench::new().await;
    let mut commits = JoinSet::new();
    for number in 0..300 {
        let bad = Guard::SubmissionReady(SystemIds.submission());
        let guards = if number % 3 == 0 { vec![bad] } else { vec![] };
        let commit = acceptance(&bench, SystemIds.job(), guards, Lane::Admission).await;
        let redis = bench.redis.clone();
        commits.spawn(async move { (number, redis.commit(commit).await) });
    }
    for (number, answer) in commits.join_all().await {
        assert_eq!(answer.is_ok(), number % 3 != 0, "{number}: {answer:?}");
    }
    assert_eq!(bench.check(Expect::SomeOpen).await.jobs.len(), 200);
}

#[tokio::test]
async fn a_command_is_carried_out_once_however_often_it_is_sent() {
    let bench = Bench::new().await;
    let id = SystemIds.job();
    let enqueue = JobCommand::Enqueue(bench.spec("alice", "small"));
    for _ in 0..3 {
        bench.command(id, &enqueue).await.expect("a success each time");
    }
    assert_eq!(bench.check(Expect::SomeOpen).await.stories[&id], ["job.enqueued"]);
}

#[tokio::test]
async fn a_jobs_history_is_its_own_events_in_their_order() {
    let bench = Bench::new().await;
    let log: &dyn EventLogPort = &bench.redis;
    let (id, other) = (bench.enqueue("small").await, bench.enqueue("small").await);
    let cancel =
        JobCommand::RequestCancel { by: "alice".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    bench.command(id, &cancel).await.expect("cancelled");
    let kinds = async |job, after| -> Vec<String> {
        log.history(job, after).await.expect("a history").into_iter().map(|entry| entry.event.kind).collect()
    };
    assert_eq!(kinds(id, 0).await, ["job.enqueued", "job.cancel_requested", "job.cancelled"]);
    assert_eq!(kinds(id, 2).await, ["job.cancelled"]);
    assert_eq!(kinds(id, 3).await, Vec::<String>::new());
    assert_eq!(kinds(other, 0).await, ["job.enqueued"]);
    assert_eq!(kinds(SystemIds.job(), 0).await, Vec::<String>::new());

    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = log.read(after, 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        read.extend(page.into_iter().map(|entry| entry.event.kind));
    }
    let all = [
        "policy.changed",
        "submission.created",
        "job.enqueued",
        "job.enqueued",
        "job.cancel_requested",
        "job.cancelled",
    ];
    assert_eq!(read, all);
}

#[tokio::test]
async fn a_full_redis_takes_nothing_in_and_lets_what_was_accepted_go_on() {
    let bench = Bench::new().await;
    let id = bench.enqueue("small").await;
    let mut raw = bench.raw().await;
    bench.limit_memory(MemoryLimit::Exceeded).await;
    let before = everything(&mut raw).await;
    let refused = bench.redis.commit(acceptance(&bench, SystemIds.job(), vec![], Lane::Admission).await).await;
    assert_eq!(refused, Err(CommitError::Full));
    assert_eq!(everything(&mut raw).await, before);
    // Also for a process that meets a full Redis which has no script yet, as one that was restarted.
    let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut raw).await.expect("flushed");
    let cancel =
        JobCommand::RequestCancel { by: "alice".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    bench.command(id, &cancel).await.expect("what was accepted goes on");
    bench.limit_memory(MemoryLimit::None).await;
    bench.enqueue("small").await;
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let bench = Bench::new().await;
    let mut raw = bench.raw().await;
    for _ in 0..2 {
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut raw).await.expect("flushed");
        let id = bench.enqueue("small").await;
        assert_eq!(bench.check(Expect::SomeOpen).await.stories[&id], ["job.enqueued"]);
    }
}

#[tokio::test]
async fn a_commit_that_is_too_large_never_reaches_redis() {
    let bench = Bench::new().await;
    let mut large = acceptance(&bench, SystemIds.job(), vec![], Lane::Admission).await;
    let huge =
        JobEvent::LeaseLost { fence: SystemIds.fence(), cause: events::LossCause::Drain, error: "x".repeat(2 << 20) };
    let Change::Job { events, .. } = &mut large.change else { panic!("a job's commit") };
    events.push(Envelope { seq: 2, event: huge, ..events[0].clone() });
    let mut raw = bench.raw().await;
    let before = everything(&mut raw).await;
    let refused = bench.redis.commit(large).await;
    assert!(matches!(refused, Err(CommitError::TooLarge(bytes)) if bytes > 2 << 20), "{refused:?}");
    assert_eq!(everything(&mut raw).await, before);
}

#[tokio::test]
async fn a_redis_that_is_gone_is_away_and_one_that_is_back_is_used() {
    let bench = Bench::new().await;
    let commit = acceptance(&bench, SystemIds.job(), vec![], Lane::Admission).await;
    nix::sys::signal::kill(bench.server.pid(), nix::sys::signal::Signal::SIGKILL).expect("it runs");
    let refused = bench.redis.commit(commit.clone()).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    let _server = bench.server.crash_and_restart().await;
    let made = leadersboard_tests::wait::until("it is used again", std::time::Duration::from_secs(10), async || {
        bench.redis.commit(commit.clone()).await.ok()
    })
    .await;
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn an_end_waits_for_no_other_jobs_record() {
    let mut bench = Bench::new().await;
    bench.policy = Policy { limits: Limits { running: 1, ..bench.policy.limits }, ..(*bench.policy).clone() }.into();
    let (running, held) = (bench.enqueue("small").await, bench.enqueue("small").await);
    let ticket = Ticket { class: "small".parse().expect("a class"), id: StreamId { ms: 1, seq: 0 } };
    let fence = bench.start(&Claim { ticket, job: running }, &super::consumer("w-1")).await;
    let (mut raw, key) = (bench.raw().await, bench.keys.job(held));
    let set = async |raw: &mut MultiplexedConnection, user: &str| {
        let _: () = redis::cmd("HSET").arg(&key).arg(&["created_at", user]).query_async(raw).await.expect("set");
    };
    let created_at: String =
        redis::cmd("HGET").arg(&key).arg("created_at").query_async(&mut raw).await.expect("a time");
    set(&mut raw, "yesterday").await;
    bench.complete(running, &fence).await;
    set(&mut raw, &created_at).await;
    execute::dispatch_held(&bench.redis, &bench.policy, &"alice".parse().expect("a name"), 1.0).await;
    let state = bench.redis.load_job(held).await.expect("a job").state.expect("a job");
    assert!(state.holds_slot(), "{state:?}");
}

#[tokio::test]
async fn what_an_index_says_is_held_and_is_not_is_never_dispatched() {
    let mut bench = Bench::new().await;
    bench.policy = Policy { limits: Limits { running: 1, ..bench.policy.limits }, ..(*bench.policy).clone() }.into();
    let cancelled = bench.enqueue("small").await;
    let by: UserId = "alice".parse().expect("a name");
    let cancel = JobCommand::RequestCancel { by: by.clone(), force: CancelMode::Graceful };
    bench.command(cancelled, &cancel).await.expect("cancelled");
    let (active, held) = (bench.enqueue("small").await, bench.enqueue("small").await);
    let mut raw = bench.raw().await;
    let mut stray = redis::cmd("ZADD");
    let key = bench.keys.user_held(&by);
    let _: () = stray.arg(&key).arg("1").arg(cancelled.to_string()).query_async(&mut raw).await.expect("set");
    bench.command(active, &cancel).await.expect("cancelled");
    let state = async |id| bench.redis.load_job(id).await.expect("a job").state.expect("a job");
    assert!(state(cancelled).await.is_terminal());
    assert!(state(held).await.holds_slot());
    let _: () = redis::cmd("ZREM").arg(&key).arg(cancelled.to_string()).query_async(&mut raw).await.expect("removed");
    bench.check(Expect::SomeOpen).await;
}
