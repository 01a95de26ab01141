//! What a call takes with few and with many jobs stored, and what a job that has ended costs of Redis's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::job::{ArtifactTotals, Tracking};
use events::ports::{EventLogPort, Ids};
use events::{
    Actor, Change, Commit, Envelope, JobEvent, JobId, JobSpec, Lane, Policy, Results, SubmissionId, Timestamp,
};
use leadersboard_tests::client::{Answer, Client};
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roles::Roles;
use projections::Keyspace;
use serde_json::json;
use tokio::task::JoinSet;

use crate::statistics::percentile;

const CALLS: usize = 500;
/// Commits under way at once while jobs are stored: they share calls of Redis.
const AT_ONCE: usize = 512;
const METRICS: &str = r#"{"params": {"lr": 0.1, "epochs": 20, "seed": 7, "model": "resnet18"},
    "metrics": {"image_auc": 0.9287, "train_loss": 1.5879, "pixel_auc": 0.9512}, "performance": {"train_seconds": 3.6}}"#;

#[expect(clippy::disallowed_methods, reason = "how much is measured is for whoever starts the bench to say")]
pub(crate) async fn print() {
    println!(
        "\n## Calls with many jobs stored, all of one user who asks, AOF off, one call after another, {CALLS} of each"
    );
    println!(
        "{:>9} {:>24} {:>24} {:>24}   p50 to that at 10",
        "stored", "POST /jobs", "GET /jobs/{id}", "GET /jobs?limit=50"
    );
    let shelf = Shelf::new().await;
    let mut stored = Vec::new();
    let mut first = None;
    let mut memory = Vec::new();
    let million = std::env::var("BENCH_MILLION").is_ok_and(|wanted| wanted == "1");
    for count in [10, 10_000, 100_000, 1_000_000] {
        if count == 1_000_000 && !million {
            println!("{count:>9} (with BENCH_MILLION=1)");
            continue;
        }
        let began = Instant::now();
        let added = count - stored.len();
        let before = shelf.used_bytes().await;
        stored.extend(shelf.store(added).await);
        memory.push((added, shelf.used_bytes().await - before, began.elapsed()));
        let mut times = shelf.measure(&stored).await;
        let [post, get, list] = &mut times;
        let shown = [post, get, list].map(|samples| {
            let [p50, p99] = [0.5, 0.99].map(|share| percentile(samples, share).as_secs_f64() * 1e3);
            (p50, format!("p50 {p50:.2} p99 {p99:.2} ms"))
        });
        let first = *first.get_or_insert_with(|| shown.clone().map(|(p50, _)| p50));
        let ratio = |at: usize| shown[at].0 / first[at];
        println!(
            "{count:>9} {:>24} {:>24} {:>24}   {:.2} {:.2} {:.2}",
            shown[0].1,
            shown[1].1,
            shown[2].1,
            ratio(0),
            ratio(1),
            ratio(2)
        );
    }
    println!(
        "\n## Redis's memory for a job that has ended: its three events, its status, its results, its places in the indexes"
    );
    for (added, bytes, took) in memory.into_iter().filter(|(added, ..)| *added > 1_000) {
        let rate = added as f64 / took.as_secs_f64();
        println!("{:>9} jobs added: {:>5.0} bytes each, stored at {rate:.0} a second", added, bytes / added as f64);
    }
    let events = shelf.memory_of(&Keyspace::default().events()).await;
    println!("of that the event log: {:.0} bytes a job", events / stored.len() as f64);
}

/// A deployment without a worker, on whose shelf finished jobs are put.
struct Shelf {
    roles: Roles,
    alice: Client,
    submission: SubmissionId,
    redis: Redis,
    _api: leadersboard_tests::board::Process,
}

impl Shelf {
    async fn new() -> Self {
        let roles = Roles::on(RedisServer::start(Persistence::Off).await);
        let (api, alice) = roles.api();
        let submission = alice.submit("print(1)\n").await.parse().expect("an id");
        let redis = Redis::connect(&roles.redis.url(), Keyspace::default()).await.expect("Redis");
        Self { roles, alice, submission, redis, _api: api }
    }

    async fn used_bytes(&self) -> f64 {
        let mut redis = self.roles.redis.connection().await;
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await.expect("its memory");
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.and_then(|bytes| bytes.trim().parse().ok()).expect("a number")
    }

    async fn memory_of(&self, key: &str) -> f64 {
        let mut redis = self.roles.redis.connection().await;
        redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut redis).await.expect("its memory")
    }

    /// Stores so many finished jobs by the commits that a life of each would make, in one.
    async fn store(&self, count: usize) -> Vec<JobId> {
        let (next, now) = (Arc::new(AtomicUsize::new(0)), self.redis.now().await.expect("Redis's time"));
        let results = Results::from_metrics_json(METRICS.as_bytes()).expect("results");
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE.min(count) {
            let (next, redis, submission, results) =
                (Arc::clone(&next), self.redis.clone(), self.submission, results.clone());
            workers.spawn(async move {
                let mut ids = Vec::new();
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let id = SystemIds.job();
                    redis.commit(finished(id, submission, now, results.clone())).await.expect("committed");
                    ids.push(id);
                }
                ids
            });
        }
        workers.join_all().await.concat()
    }

    /// How long each of three calls takes, in turn.
    async fn measure(&self, stored: &[JobId]) -> [Vec<Duration>; 3] {
        let asked = json!({ "submission_id": self.submission.to_string() });
        let mut times = [vec![], vec![], vec![]];
        for call in 0..CALLS {
            let job = stored[call * 7_919 % stored.len()];
            times[0].push(timed(202, self.alice.post("/jobs", &asked)).await);
            times[1].push(timed(200, self.alice.get(&format!("/jobs/{job}"))).await);
            times[2].push(timed(200, self.alice.get("/jobs?limit=50")).await);
        }
        times
    }
}

async fn timed(status: u16, call: impl Future<Output = Answer>) -> Duration {
    let began = Instant::now();
    let answer = call.await;
    assert_eq!(answer.status, status, "{answer:?}");
    began.elapsed()
}

fn finished(id: JobId, submission: SubmissionId, at: Timestamp, results: Results) -> Commit {
    let spec = JobSpec {
        submission,
        user: "alice".parse().expect("a name"),
        class: Policy::default().default_class,
        config: r#"{"resource_class": "small"}"#.to_owned(),
        idempotency: None,
    };
    let (fence, worker) = (SystemIds.fence(), "bench-1".parse().expect("a name"));
    let story = [
        JobEvent::Enqueued { spec, dispatched: true },
        JobEvent::Started {
            fence: fence.clone(),
            worker,
            gpus: vec![],
            sandbox: "off".to_owned(),
            tracking: Tracking::Off,
        },
        JobEvent::Completed { fence, results, artifacts: ArtifactTotals::default(), tracked: None },
    ];
    let actor = Actor::System("bench".to_owned());
    let envelope = |(seq, event)| Envelope { seq, at, actor: actor.clone(), trace: None, event };
    let change = Change::Job { id, before: None, events: (1..).zip(story).map(envelope).collect() };
    Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Progress }
}
