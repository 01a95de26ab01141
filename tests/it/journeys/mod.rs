//! What users do, over the real binary, a real Redis and a real Python.

mod access;
mod api_calls;
mod artifacts;
mod bad_input;
mod broken_jobs;
mod cancel;
mod classes;
mod cli;
mod crash;
mod dlq;
mod end_to_end;
mod expiry;
mod idempotency;
mod job_environment;
mod leaderboard;
mod limits;
mod live_log;
mod migrate;
mod oidc;
mod openapi;
mod ownership;
mod places;
mod policy;
mod private_redis;
mod progress;
mod python_client;
mod queue;
mod readme;
mod reconciler;
mod redis_away;
mod requirements;
mod s3;
mod scale;
mod stream;
mod submissions;
mod teardown;
mod tokens;
mod tracking;
mod unreadable;
mod uploads;
mod workers;

use leadersboard_tests::board::Board;
use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::programs::INSTANT;
use projections::Keyspace;

/// Checks all that must hold of a board whose jobs have ended: keys, leases, tickets, processes.
async fn all_is_well(board: &Board) -> Folded {
    assert_eq!(processes_of(board), Vec::<String>::new(), "processes of jobs that have ended");
    check(&board.redis_url(), &Keyspace::default(), Expect::AllEnded).await
}

/// The marker of every process of a job that this board's worker runs or ran, as long as one is alive.
fn processes_of(board: &Board) -> Vec<String> {
    let work = board.data().join("work").display().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc");
    processes
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let environ = String::from_utf8_lossy(&environ);
            environ.contains("LEADERSBOARD_RUN=") && environ.contains(&work)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
