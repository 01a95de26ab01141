//! A thousand clients that follow jobs on one API process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::{Start, Tracking};
use events::ports::{Claim, Ids, JobQueuePort};
use events::{Actor, Consumer, JobCommand, JobId, Policy};
use leadersboard_tests::client::Client;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::roomy::roomy;
use leadersboard_tests::sse::Stream;
use projections::Keyspace;
use serde_json::json;
use tokio::task::JoinSet;

use crate::footprint::rss_mib;
use crate::statistics::percentile;

const CLIENTS: usize = 1_000;

pub(crate) async fn print() {
    println!(
        "\n## GET /jobs/{{id}}/stream, {CLIENTS} clients of one API process, AOF always, one commit after another"
    );
    println!(
        "{:<32} {:>10} {:>10} {:>22} {:>24} {:>11}",
        "", "RSS, none", "RSS, all", "from answer p50/p99", "from asking p50/p99", "Redis conns"
    );
    for (name, jobs) in [("each follows a job of its own", CLIENTS), ("all follow one job", 1)] {
        let Figures { idle_mib, open_mib, mut since_answered, mut since_asked, connections } = measure(jobs).await;
        let [answered, asked] = [&mut since_answered, &mut since_asked].map(|delays| {
            let ms = |micros: u128| micros as f64 / 1_000.0;
            format!("{:.2} / {:.2} ms", ms(percentile(delays, 0.5)), ms(percentile(delays, 0.99)))
        });
        println!(
            "{name:<32} {idle_mib:>6.1} MiB {open_mib:>6.1} MiB {answered:>22} {asked:>24} {:>11}",
            format!("+{connections}")
        );
    }
    println!(
        "delays end with the client's parsed message: from the commit's answer (0 where the message came first), and"
    );
    println!("from when it was asked for, loading the job included. Clients, API and Redis share the machine.");
}

struct Figures {
    idle_mib: f64,
    open_mib: f64,
    /// Microseconds.
    since_answered: Vec<u128>,
    /// Microseconds.
    since_asked: Vec<u128>,
    /// What the streams add to Redis's connections.
    connections: usize,
}

/// When a commit was asked for and answered.
struct Committed {
    asked: Instant,
    answered: Instant,
}

async fn measure(jobs: usize) -> Figures {
    let roles = Roles::new().await;
    let (api, alice) = roles.api();
    let policy = Arc::new(roomy());
    let projector = Keyspace::default();
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
    let (mut since_answered, mut since_asked) = (Vec::new(), Vec::new());
    while let Some(heard) = followers.join_next().await {
        let (job, at) = heard.expect("a follower");
        let Committed { asked, answered } = &started[&job.parse::<JobId>().expect("an id")];
        since_answered.push(at.saturating_duration_since(*answered).as_micros());
        since_asked.push(at.duration_since(*asked).as_micros());
    }
    Figures { idle_mib, open_mib, since_answered, since_asked, connections }
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

/// Starts all jobs, one after another, and gives when.
async fn start_all(redis: &Redis, policy: &Policy, jobs: usize) -> HashMap<JobId, Committed> {
    let worker: Consumer = "bench-1".parse().expect("a name");
    let mut reader = redis.reader(&worker, std::slice::from_ref(&policy.default_class)).await.expect("a reader");
    let origin = Origin { actor: Actor::System("bench".to_owned()), trace: None };
    let mut started = HashMap::new();
    while started.len() < jobs {
        for Claim { job, ticket } in reader.claim(1, std::time::Duration::from_secs(1)).await.expect("tickets") {
            let (fence, worker) = (SystemIds.fence(), worker.clone());
            let start = JobCommand::Start(Start {
                fence,
                ticket,
                worker,
                gpus: vec![],
                sandbox: "off".to_owned(),
                tracking: Tracking::Off,
            });
            let asked = Instant::now();
            execute::job(redis, policy, &origin, job, &start, 1.0).await.expect("started");
            started.insert(job, Committed { asked, answered: Instant::now() });
        }
    }
    started
}

async fn connections(roles: &Roles) -> usize {
    let mut raw = roles.redis.connection().await;
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut raw).await.expect("the clients");
    list.lines().count()
}
