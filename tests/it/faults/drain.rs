//! Workers that are asked to stop while Redis does not answer, and terminals that are closed.

use std::time::Duration;

use leadersboard_tests::board::Process;
use leadersboard_tests::processes::marked;
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use projections::Keyspace;

use super::{RECOVERY, all_ended, assert_undisturbed, count};

/// How long a worker may take to end after its drain timeout: the graces of its program, and a few seconds for the
/// rest.
const SOON: Duration = Duration::from_secs(20);

fn worker(roles: &Roles, name: &str, drain_timeout: &str) -> Process {
    let mut worker = roles.worker_command(name, roles.lease);
    worker.args(["--drain-timeout", drain_timeout, "--interrupt-grace", "200ms", "--terminate-grace", "200ms"]);
    Process::spawn(worker)
}

async fn ends(process: &mut Process) -> Option<i32> {
    until("the worker ends", SOON, async || process.has_ended().then_some(())).await;
    process.wait()
}

#[tokio::test]
async fn a_worker_that_is_to_stop_waits_for_no_redis_and_another_runs_its_job() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut roles = Roles::new().await;
        let (_api, alice) = roles.api();
        let mut lost = worker(&roles, "lost", "500ms");
        let gate = roles.gate("gate");
        let job = alice.run(&gated(&gate)).await;
        alice.wait_for(&job, "running").await;
        match signal {
            // It is there and does not answer; or it is gone.
            Signal::SIGTERM => kill(roles.redis.pid(), Signal::SIGSTOP).expect("it runs"),
            _ => kill(roles.redis.pid(), Signal::SIGKILL).expect("it runs"),
        }
        lost.signal(signal);
        assert_eq!(ends(&mut lost).await, Some(0), "{}", roles.words("lost"));
        assert_eq!(marked(&job), Vec::<Pid>::new(), "its program is gone");
        roles.redis.restart().await;
        std::fs::write(&gate, "").expect("the gate");
        let _other = worker(&roles, "other", "1s");
        alice.wait_for(&job, "completed").await;
        let folded = all_ended(&roles).await;
        let story = &folded.stories[&job.parse().expect("an id")];
        assert_eq!(story.iter().filter(|kind| **kind == "job.started").count(), 2, "{story:?}");
    }
}

#[tokio::test]
async fn a_worker_whose_redis_refuses_writes_stops_too() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let mut lost = worker(&roles, "lost", "500ms");
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;
    // A folder in the place of the snapshot: it can't be saved.
    let (mut redis, snapshot) = (roles.redis.connection().await, roles.redis.folder().join("dump.rdb"));
    std::fs::create_dir(&snapshot).expect("its folder is writable");
    let mut set = redis::pipe();
    set.cmd("CONFIG").arg(&["SET", "save", "3600 1000000"]).cmd("BGSAVE");
    let _: redis::Value = set.query_async(&mut redis).await.expect("it is asked for");
    until("Redis refuses writes", RECOVERY, async || {
        let written: redis::RedisResult<()> = redis::cmd("SET").arg(&["probe", "1"]).query_async(&mut redis).await;
        written.is_err_and(|error| error.code() == Some("MISCONF")).then_some(())
    })
    .await;
    let told = roles.command(&["doctor"]).output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&told.stdout).contains("Redis refuses writes"), "{told:?}");
    std::fs::write(&gate, "").expect("the gate");
    lost.signal(Signal::SIGTERM);
    assert_eq!(ends(&mut lost).await, Some(0), "{}", roles.words("lost"));
    std::fs::remove_dir(&snapshot).expect("it is there");
    let mut set = redis::pipe();
    set.cmd("CONFIG").arg(&["SET", "save", ""]).cmd("CONFIG").arg(&["SET", "stop-writes-on-bgsave-error", "no"]);
    set.cmd("DEL").arg("probe");
    let _: redis::Value = set.query_async(&mut redis).await.expect("it is set");
    let _other = worker(&roles, "other", "1s");
    alice.wait_for(&job, "completed").await;
    all_ended(&roles).await;
}

#[tokio::test]
async fn a_closed_terminal_is_a_drain_and_costs_a_job_nothing() {
    let mut roles = Roles::new().await;
    roles.lease = "30s";
    let (mut api, alice) = roles.api();
    let mut one = worker(&roles, "one", "1m");
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;
    // The shell passes on what the kernel sends as well.
    one.signal(Signal::SIGHUP);
    one.signal(Signal::SIGTERM);
    one.signal(Signal::SIGHUP);
    let (mut redis, keys) = (roles.redis.connection().await, Keyspace::default());
    until("it drains", RECOVERY, async || roles.words("one").contains("waiting for jobs to finish").then_some(()))
        .await;
    std::fs::write(&gate, "").expect("the gate");
    assert_eq!(ends(&mut one).await, Some(0), "{}", roles.words("one"));
    let leases = async || count(&mut redis, "HLEN", &keys.leases()).await;
    until_equal("leases", RECOVERY, 0, leases).await;
    let folded = all_ended(&roles).await;
    let job = job.parse().expect("an id");
    assert_undisturbed(&roles, &folded, &[job]);
    api.signal(Signal::SIGHUP);
    assert_eq!(ends(&mut api).await, Some(0), "{}", roles.words("api"));
}

#[tokio::test]
async fn a_second_signal_after_a_while_ends_it_at_once() {
    let mut roles = Roles::new().await;
    roles.lease = "30s";
    let (_api, alice) = roles.api();
    let mut one = worker(&roles, "one", "10m");
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;
    one.signal(Signal::SIGINT);
    until("it drains", RECOVERY, async || roles.words("one").contains("waiting for jobs to finish").then_some(()))
        .await;
    one.signal(Signal::SIGTERM);
    assert_eq!(ends(&mut one).await, Some(0), "{}", roles.words("one"));
    std::fs::write(&gate, "").expect("the gate");
    let _other = worker(&roles, "other", "1s");
    alice.wait_for(&job, "completed").await;
    all_ended(&roles).await;
}
