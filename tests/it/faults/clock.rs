//! Wall clocks that are wrong: Redis's, by which times are told, and a worker's, which nothing goes by.

use std::time::{Duration, Instant};

use adapters::redis::Redis;
use chrono::DateTime;
use events::JobId;
use events::ports::{LeaderLease, WorkStatePort};
use leadersboard_tests::board::Process;
use leadersboard_tests::preload::{Clock, Environment};
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{scaled, until};
use nix::sys::signal::Signal;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;
use tokio::time::{sleep, timeout};

use super::{INSTANT, RECOVERY, UNDISTURBED, all_ended, crew};

const HOUR: Duration = Duration::from_hours(1);
/// How often a worker falls silent, and for how long: under a lease of 2 s, with a beat and a sweep every half second.
const SILENCES: usize = 8;
const SILENCE: Duration = Duration::from_millis(900);
/// The longest wait before the second retry, and some seconds for the run itself.
const SECOND_RETRY: Duration = Duration::from_secs(6 + 8);

#[tokio::test]
async fn a_redis_clock_that_jumps_ahead_ends_no_lease_and_delays_no_retry() {
    nothing_minds_steps_of_the_clock(|clock, hours| clock.set_ahead(HOUR * hours)).await;
}

#[tokio::test]
async fn a_redis_clock_that_jumps_back_ends_no_lease_and_delays_no_retry() {
    nothing_minds_steps_of_the_clock(|clock, hours| clock.set_behind(HOUR * hours)).await;
}

/// Steps the clock while one job runs and one waits for its second retry; then again and again while the worker of the
/// one that runs is silent.
async fn nothing_minds_steps_of_the_clock(step: impl Fn(&Clock, u32)) {
    let clock = Clock::new();
    let mut roles = Roles::on(RedisServer::start_with(Persistence::Always, clock.environment()).await);
    roles.lease = "2s";
    let (_api, alice) = roles.api();
    // Each worker watches the leases of the other.
    let crew = crew(&roles);
    let gate = roles.gate("gate");
    let running = alice.run(&gated(&gate)).await;
    alice.wait_for(&running, "running").await;

    // A submission that can't be fetched is the platform's failure.
    let submission = alice.submit(INSTANT).await;
    let uploads = roles.data.path().join("uploads");
    let aside = roles.data.path().join("aside");
    std::fs::rename(uploads.join(&submission), &aside).expect("a submission");
    let delayed = alice.enqueue(&submission, serde_json::json!({})).await;
    let mut redis = roles.redis.connection().await;
    until("its second retry is scheduled", RECOVERY, async || (retries(&mut redis, &delayed).await == 2).then_some(()))
        .await;
    std::fs::rename(&aside, uploads.join(&submission)).expect("a submission");

    step(&clock, 1);
    timeout(scaled(SECOND_RETRY), alice.wait_for(&delayed, "completed")).await.expect("it is not delayed any longer");
    // Its worker falls silent for less than its lease, which the other sees in several sweeps with steps between them.
    let holder = alice.get(&format!("/jobs/{running}")).await.body["worker"].as_str().expect("a worker").to_owned();
    let holder = &crew[usize::from(holder.starts_with("two"))];
    let mut hours = 1;
    for _ in 0..SILENCES {
        let before = beats(&mut redis, &running).await;
        holder.signal(Signal::SIGSTOP);
        let silent_since = Instant::now();
        while silent_since.elapsed() < SILENCE {
            hours += 1;
            step(&clock, hours);
            sleep(Duration::from_millis(50)).await;
        }
        holder.signal(Signal::SIGCONT);
        until("a beat", RECOVERY, async || (beats(&mut redis, &running).await > before).then_some(())).await;
    }
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&running, "completed").await;
    let folded = all_ended(&roles).await;
    assert_eq!(folded.stories[&running.parse().expect("an id")], UNDISTURBED);
}

async fn retries(redis: &mut MultiplexedConnection, job: &str) -> usize {
    let of_job =
        |event: &&(String, String, String)| event.0 == "job.retry_scheduled" && event.1 == format!("job:{job}");
    log(redis).await.iter().filter(of_job).count()
}

async fn beats(redis: &mut MultiplexedConnection, job: &str) -> u64 {
    let leases = Keyspace::default().leases();
    let lease: String = redis::cmd("HGET").arg(leases).arg(job).query_async(redis).await.expect("a lease");
    lease.split(' ').nth(1).and_then(|beat| beat.parse().ok()).expect("a beat")
}

/// Type, aggregate and time of every event.
async fn log(redis: &mut MultiplexedConnection) -> Vec<(String, String, String)> {
    let read = redis::cmd("XRANGE").arg(Keyspace::default().events()).arg(&["-", "+"]).query_async(redis).await;
    let log: StreamRangeReply = read.expect("the log");
    let fields = |entry: redis::streams::StreamId| {
        let [kind, aggregate, at] = ["type", "agg", "at"].map(|field| entry.get::<String>(field).expect("a field"));
        (kind, aggregate, at)
    };
    log.ids.into_iter().map(fields).collect()
}

#[tokio::test]
async fn a_redis_clock_that_jumps_back_leaves_no_dead_process_the_reconciler_s_turn() {
    let clock = Clock::new();
    let server = RedisServer::start_with(Persistence::Always, clock.environment()).await;
    let redis = Redis::connect(&server.url(), Keyspace::default()).await.expect("Redis");
    let turn = Duration::from_secs(1);
    let take = async |holder| redis.take_leader_lease(LeaderLease::Reconciling, holder, turn).await.expect("an answer");
    clock.set_ahead(HOUR);
    assert!(take("dead").await);
    assert!(!take("other").await, "it has the turn");
    clock.set_ahead(Duration::ZERO);
    until("another has its turn", RECOVERY, async || take("other").await.then_some(())).await;
    assert!(!take("third").await, "it has the turn");
}

#[tokio::test]
async fn workers_whose_clocks_are_wrong_run_jobs_whose_times_are_redis_s() {
    let roles = Roles::new().await;
    let mut redis = roles.redis.connection().await;
    let began = redis_seconds(&mut redis).await;
    let (_api, alice) = roles.api();
    let [fast, slow] = [Clock::new(), Clock::new()];
    fast.set_ahead(HOUR);
    slow.set_behind(HOUR);
    let _fast = worker(&roles, "fast", fast.environment());
    let _slow = worker(&roles, "slow", slow.environment());
    let gate = roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        jobs.push(alice.enqueue(&submission, serde_json::json!({})).await);
    }
    for job in &jobs {
        alice.wait_for(job, "running").await;
    }
    // Each watches the other for some leases' length.
    for job in &jobs {
        until("twelve beats", RECOVERY, async || (beats(&mut redis, job).await >= 12).then_some(())).await;
    }
    std::fs::write(&gate, "").expect("the gate");
    for job in &jobs {
        alice.wait_for(job, "completed").await;
    }
    let folded = all_ended(&roles).await;
    for job in &jobs {
        let job: JobId = job.parse().expect("an id");
        assert_eq!(folded.stories[&job], UNDISTURBED);
    }
    let ended = redis_seconds(&mut redis).await;
    for (kind, _, at) in log(&mut redis).await {
        let at = DateTime::parse_from_rfc3339(&at).expect("a time").timestamp();
        assert!((began..=ended).contains(&at), "{kind} at {at}, not from {began} to {ended}");
    }
}

fn worker(roles: &Roles, name: &str, environment: Environment) -> Process {
    let mut worker = roles.worker_command(name, "1s");
    worker.envs(environment);
    Process::spawn(worker)
}

async fn redis_seconds(redis: &mut MultiplexedConnection) -> i64 {
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(redis).await.expect("the time");
    seconds
}
