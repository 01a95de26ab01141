//! From `POST /jobs` to the handler's start: the real API as a process of its own, an idle worker that does nothing.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::failure::{Failure, FailureKind};
use events::job::{Start, Tracking};
use events::ports::{Ids, JobQueuePort};
use events::{Actor, Consumer, JobCommand};
use leadersboard_tests::board::{ALICE, Process, command};
use leadersboard_tests::client::Client;
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roomy::{ROOMY, roomy};
use projections::Keyspace;
use serde_json::json;

use crate::statistics::percentile;

const JOBS: usize = 1_000;
const EVERY: Duration = Duration::from_millis(10);

pub(crate) async fn print() {
    println!("\n## From POST /jobs (sent) to the handler's start, {JOBS} jobs at 100 a second, idle worker");
    for (name, persistence) in [("AOF off", Persistence::Off), ("AOF always", Persistence::Always)] {
        let mut waits = measure(persistence).await;
        let (p50, p99) = (percentile(&mut waits, 0.5), percentile(&mut waits, 0.99));
        println!("{name:<12} p50 {:>6.2} ms   p99 {:>6.2} ms", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
    }
}

async fn measure(persistence: Persistence) -> Vec<Duration> {
    let server = RedisServer::start(persistence).await;
    let data = tempfile::tempdir().expect("a directory");
    let keys = Keyspace::default();
    let mut migrate = command(data.path());
    migrate.args(["migrate", "--json"]).env("REDIS_URL", server.url()).envs(ROOMY).stdout(Stdio::null());
    assert!(migrate.status().expect("the binary runs").success());
    let mut api = command(data.path());
    api.args(["api", "--json", "--listen", "127.0.0.1:0"]).env("REDIS_URL", server.url());
    api.env("API_TOKENS", format!("alice:{ALICE}")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut api = Process::spawn(api);
    let address: serde_json::Value = serde_json::from_str(&api.line()).expect("its address");
    let client = Client::new(address["address"].as_str().expect("an address"), ALICE);
    let submission = client.submit("print(1)\n").await;

    let started: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let redis = Redis::connect(&server.url(), keys).await;
    let worker = tokio::spawn(work(redis.expect("Redis"), Arc::clone(&started)));
    let mut ticks = tokio::time::interval(EVERY);
    let mut posts = Vec::new();
    for _ in 0..JOBS {
        ticks.tick().await;
        let (client, submission) = (client.clone(), submission.clone());
        posts.push(tokio::spawn(async move {
            let sent = Instant::now();
            (client.enqueue(&submission, json!({})).await, sent)
        }));
    }
    let mut waits = Vec::new();
    for post in posts {
        let (job, sent) = post.await.expect("a post");
        let begun = loop {
            if let Some(begun) = started.lock().expect("no panic").get(&job).copied() {
                break begun;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        waits.push(begun.saturating_duration_since(sent));
    }
    worker.abort();
    waits
}

/// Claims, starts, notes when the start was committed, and ends the job at once.
async fn work(redis: Redis, started: Arc<Mutex<HashMap<String, Instant>>>) {
    let policy = roomy();
    let worker: Consumer = "bench-1".parse().expect("a name");
    let classes: Vec<_> = policy.classes.keys().cloned().collect();
    let mut reader = redis.reader(&worker, &classes).await.expect("a reader");
    let origin = Origin { actor: Actor::Worker(worker.clone()), trace: None };
    loop {
        for claim in reader.claim(64, Duration::from_secs(1)).await.expect("tickets") {
            let (redis, worker, origin, policy, started) =
                (redis.clone(), worker.clone(), origin.clone(), policy.clone(), Arc::clone(&started));
            tokio::spawn(async move {
                let fence = SystemIds.fence();
                let (ticket, sandbox) = (claim.ticket, "off".to_owned());
                let start = JobCommand::Start(Start {
                    fence: fence.clone(),
                    ticket,
                    worker,
                    gpus: vec![],
                    sandbox,
                    tracking: Tracking::Off,
                });
                execute::job(&redis, &policy, &origin, claim.job, &start, 1.0).await.expect("started");
                started.lock().expect("no panic").insert(claim.job.to_string(), Instant::now());
                let error = "nothing was run".to_owned();
                let kind = FailureKind::MissingMetrics;
                let failure = Failure { kind, error, exit_code: Some(0), log_tail: String::new() };
                let fail = JobCommand::Fail { fence, failure };
                execute::job(&redis, &policy, &origin, claim.job, &fail, 1.0).await.expect("ended");
            });
        }
    }
}
