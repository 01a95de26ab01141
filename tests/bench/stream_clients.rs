//! A thousand clients that follow jobs on one API process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::Start;
use events::ports::{Claim, Ids, JobQueuePort};
use events::{Actor, Consumer, JobCommand, JobId, Policy};
use leadersboard_tests::client::Client;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::sse::Stream;
use projections::{Keyspace, Projector};
use serde_json::json;
use tokio::task::JoinSet;

use crate::footprint::rss_mib;
use crate::percentile;

const CLIENTS: usize = 1_000;

pub(crate) async fn print() {
    println!("\n## GET /jobs/{{id}}/stream, {CLIENTS} clients of one API process, AOF always");
    println!("{:<34} {:>10} {:>10} {:>11} {:>11} {:>12}", "", "idle RSS", "open RSS", "p50", "p99", "Redis conns");
    for (name, jobs) in [("each follows a job of its own", CLIENTS), ("all follow one job", 1)] {
        let figures = measure(jobs).await;
        println!(
            "{name:<34} {:>6.1} MiB {:>6.1} MiB {:>8.2} ms {:>8.2} ms {:>12}",
            figures.idle_mib,
            figures.open_mib,
            figures.p50_us as f64 / 1_000.0,
            figures.p99_us as f64 / 1_000.0,
            format!("+{}", figures.connections)
        );
    }
    println!("the delay is from the commit's answer to the client's parsed message; client and API share the machine.");
}

struct Figures {
    idle_mib: f64,
    open_mib: f64,
    p50_us: u128,
    p99_us: u128,
    /// What the streams add to Redis's connections.
    connections: usize,
}

async fn measure(jobs: usize) -> Figures {
    let roles = Roles::new().await;
    let (api, alice) = roles.api();
    let policy = Arc::new(Policy::default());
    let projector = Projector { keys: Keyspace::default(), retention: policy.retention };
    let redis = Redis::connect(&roles.redis.url(), projector).await.expect("Redis");
    let submission = alice.submit("print(1)\n").await;
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(alice.enqueue(&submission, json!({})).await);
    }
    let idle_mib = rss_mib(api.pid().as_raw());
    let before = connections(&roles).await;
    let streams = open(&alice, &ids).await;
    let open_mib = rss_mib(api.pid().as_raw());
    let connections = connections(&roles).await - before;

    let mut followers = JoinSet::new();
    for (job, stream) in streams {
        followers.spawn(async move { (job, hear_the_start(stream).await) });
    }
    let started = start_all(&redis, &policy, jobs).await;
    let mut delays: Vec<u128> = Vec::new();
    while let Some(heard) = followers.join_next().await {
        let (job, at) = heard.expect("a follower");
        let committed = started[&job.parse::<JobId>().expect("an id")];
        delays.push(at.saturating_duration_since(committed).as_micros());
    }
    let (p50_us, p99_us) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
    Figures { idle_mib, open_mib, p50_us, p99_us, connections }
}

/// Opens every stream and reads its first message, a few at a time.
async fn open(alice: &Client, ids: &[String]) -> Vec<(String, Stream)> {
    let mut streams = Vec::new();
    for batch in (0..CLIENTS).collect::<Vec<_>>().chunks(50) {
        let opened = batch.iter().map(async |n| {
            let job = ids[n % ids.len()].clone();
            let mut stream = alice.stream(&format!("/jobs/{job}/stream"), None).await;
            stream.next().await.expect("its status");
            (job, stream)
        });
        streams.extend(futures::future::join_all(opened).await);
    }
    streams
}

async fn hear_the_start(mut stream: Stream) -> Instant {
    let message = stream.next().await.expect("a start");
    assert_eq!(message.data["status"], "running");
    Instant::now()
}

/// Starts all jobs, one after another, and gives when each commit was answered.
async fn start_all(redis: &Redis, policy: &Policy, jobs: usize) -> HashMap<JobId, Instant> {
    let worker: Consumer = "bench-1".parse().expect("a name");
    let mut reader = redis.reader(&worker, &[policy.default_class.clone()]).await.expect("a reader");
    let origin = Origin { actor: Actor::System("bench".to_owned()), trace: None };
    let mut started = HashMap::new();
    while started.len() < jobs {
        for Claim { job, ticket } in reader.claim(1, std::time::Duration::from_secs(1)).await.expect("tickets") {
            let (fence, worker) = (SystemIds.fence(), worker.clone());
            let start = JobCommand::Start(Start { fence, ticket, worker, gpus: vec![], sandbox: "off".to_owned() });
            execute::job(redis, policy, &origin, job, &start, 1.0).await.expect("started");
            started.insert(job, Instant::now());
        }
    }
    started
}

async fn connections(roles: &Roles) -> usize {
    let mut raw = roles.redis.connection().await;
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut raw).await.expect("the clients");
    list.lines().count()
}
