//! What breaks under the system, and what must hold then: real processes, a real Redis, real programs. Every test ends
//! with the invariants, read from the log.

mod clock;
mod descriptors;
mod disk;
mod drain;
mod full_redis;
mod live_log;
mod lost_worker;
mod network;
mod redis_crash;
mod refused_login;
mod small_disk;
mod storage_away;
mod tickets;
mod tracking;
mod unfit_worker;
mod unreadable;
mod uploads;
mod work_streams;

use std::time::Duration;

use events::JobId;
use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::time::sleep;

/// The events of a job whom nothing happened.
const UNDISTURBED: [&str; 3] = ["job.enqueued", "job.started", "job.completed"];
/// How many jobs are load.
const LOAD: usize = 20;
/// The time between two jobs of a load, so that a fault meets some of them waiting, some running, some ended.
const PACE: Duration = Duration::from_millis(40);
/// How long after a fault everything has ended.
const RECOVERY: Duration = Duration::from_mins(2);

/// Two workers of two slots each.
fn crew(roles: &Roles) -> [Process; 2] {
    ["one", "two"].map(|name| {
        let mut worker = roles.worker_command(name, roles.lease);
        worker.env("WORKER_SLOTS", "2");
        Process::spawn(worker)
    })
}

/// Asks for [`LOAD`] jobs, one after another, and again after each 503. The ids of those that were accepted; what was
/// answered by 503 may have been accepted too.
async fn load(alice: &Client, submission: &str) -> Vec<JobId> {
    let mut accepted = Vec::new();
    while accepted.len() < LOAD {
        let answer = alice.post("/jobs", &json!({ "submission_id": submission })).await;
        match answer.status {
            202 => accepted.push(answer.body["job_id"].as_str().and_then(|id| id.parse().ok()).expect("an id")),
            503 => assert!(!answer.detail().is_empty()),
            _ => panic!("{answer:?}"),
        }
        sleep(PACE).await;
    }
    accepted
}

/// Waits until so many runs have begun, by their logs.
async fn begun(roles: &Roles, runs: usize) {
    let enough = async || (runs_of_all(roles).len() >= runs).then_some(());
    until("the load is under way", RECOVERY, enough).await;
}

/// Waits until every job has ended and no ticket is left, and checks all that must hold then.
async fn all_ended(roles: &Roles) -> Folded {
    let (mut redis, keys) = (roles.redis.connection().await, Keyspace::default());
    until_equal("jobs that are open", RECOVERY, 0, async || count(&mut redis, "SCARD", &keys.open()).await).await;
    let queues = ["small", "medium"].map(|class| keys.queue(&class.parse().expect("a class")));
    for queue in queues {
        until_equal("tickets", RECOVERY, 0, async || count(&mut redis, "XLEN", &queue).await).await;
    }
    check(&roles.redis.url(), &keys, Expect::AllEnded).await
}

async fn count(redis: &mut MultiplexedConnection, command: &str, key: &str) -> usize {
    redis::cmd(command).arg(key).query_async(redis).await.expect("a count")
}

/// Every one of these jobs went its way as if nothing had happened, and its program ran once.
fn assert_undisturbed(roles: &Roles, folded: &Folded, jobs: &[JobId]) {
    let runs = runs_of_all(roles);
    for job in jobs {
        assert_eq!(folded.stories[job], UNDISTURBED, "the events of job {job}");
        assert_eq!(runs.iter().filter(|run| *run == job).count(), 1, "the runs of job {job}");
    }
}

/// The job of every run that there ever was: each has a log of its own.
fn runs_of_all(roles: &Roles) -> Vec<JobId> {
    let jobs = std::fs::read_dir(roles.data.path().join("logs")).into_iter().flatten().flatten();
    let runs = jobs.flat_map(|job| {
        let id: JobId = job.file_name().to_string_lossy().parse().expect("a folder a job");
        std::fs::read_dir(job.path()).into_iter().flatten().flatten().map(move |_| id)
    });
    runs.collect()
}
