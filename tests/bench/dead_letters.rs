//! What it takes to replay very many dead letters.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::{Start, Tracking};
use events::ports::{Ids, JobQueuePort};
use events::{Actor, Consumer, JobCommand, JobSpec, LossCause, Policy};
use leadersboard_tests::board::Process;
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::roomy::roomy;
use projections::Keyspace;
use tokio::task::JoinSet;

const FEW: usize = 100;
const MANY: usize = 10_000;

pub(crate) async fn print() {
    println!("\n## Dead letters: dlq replay --all");
    for letters in [FEW, MANY] {
        let roles = Roles::new().await;
        let (_api, alice) = roles.api();
        let submission = alice.submit(INSTANT).await;
        make(&roles, &submission, letters).await;
        for (what, arguments) in [("dry run", &["--dry-run"][..]), ("replay", &[])] {
            let (seconds, mib) = replay(&roles, arguments).await;
            println!("{letters:>6} letters, {what:<8} {seconds:>6.2} s, peak memory {mib:.1} MiB");
        }
    }
}

/// Makes so many jobs that the platform gave up.
async fn make(roles: &Roles, submission: &str, letters: usize) {
    let redis = Redis::connect(&roles.redis.url(), Keyspace::default()).await.expect("Redis");
    let policy = Arc::new(Policy { max_retries: 0, ..roomy() });
    let origin = || Origin { actor: Actor::System("bench".to_owned()), trace: None };
    let submission = submission.parse().expect("an id");
    let worker: Consumer = "w-bench".parse().expect("a name");
    let mut accepted = JoinSet::new();
    for _ in 0..letters {
        let (redis, policy) = (redis.clone(), Arc::clone(&policy));
        let (user, class) = ("alice".parse().expect("a name"), "small".parse().expect("a class"));
        let enqueue =
            JobCommand::Enqueue(JobSpec { submission, user, class, config: "{}".to_owned(), idempotency: None });
        accepted.spawn(async move {
            execute::job(&redis, &policy, &origin(), SystemIds.job(), &enqueue, 1.0).await.expect("accepted");
        });
    }
    accepted.join_all().await;
    let queue: &dyn JobQueuePort = &redis;
    let mut reader = queue.reader(&worker, &["small".parse().expect("a class")]).await.expect("a reader");
    let mut given_up = JoinSet::new();
    while given_up.len() < letters {
        for claim in reader.claim(500, Duration::from_secs(5)).await.expect("tickets") {
            let (redis, policy, worker) = (redis.clone(), Arc::clone(&policy), worker.clone());
            given_up.spawn(async move {
                let fence = SystemIds.fence();
                let (gpus, sandbox) = (vec![], "off".to_owned());
                let start = Start {
                    fence: fence.clone(),
                    ticket: claim.ticket,
                    worker,
                    gpus,
                    sandbox,
                    tracking: Tracking::Off,
                };
                let lose = JobCommand::LoseLease {
                    fence,
                    cause: LossCause::Infrastructure,
                    error: "the disk was full".to_owned(),
                };
                for command in [JobCommand::Start(start), lose] {
                    execute::job(&redis, &policy, &origin(), claim.job, &command, 1.0).await.expect("carried out");
                }
            });
        }
    }
    given_up.join_all().await;
}

/// Seconds, and the peak of resident memory.
async fn replay(roles: &Roles, arguments: &[&str]) -> (f64, f64) {
    let mut command = roles.command(&["dlq", "replay", "--all"]);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let process = Process::spawn(command);
    let mut peak_kib = 0.0_f64;
    while let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", process.pid())) {
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
        // A process that has ended and was not waited for has no memory.
        let Some(kib) = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()) else { break };
        peak_kib = peak_kib.max(kib);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (began.elapsed().as_secs_f64(), peak_kib / 1024.0)
}
