//! How long users with one job wait behind a user with very many.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::{ArtifactTotals, Start, Tracking};
use events::ports::{Claim, Ids, JobQueuePort};
use events::submission::Manifest;
use events::{
    Actor, ConcurrencyPolicy, Consumer, JobCommand, JobId, JobSpec, Limits, Policy, Results, SubmissionCommand,
    SubmissionId, UserId,
};
use leadersboard_tests::redis_server::{Persistence, RedisServer, migrate};
use leadersboard_tests::roomy::roomy;
use projections::Keyspace;

const MANY: usize = 1_000;
const USERS: usize = 20;
/// As many of the crowd's have run when the others come.
const HEAD_START: usize = 50;

pub(crate) async fn print() {
    let server = RedisServer::start(Persistence::Always).await;
    let keys = Keyspace::default();
    migrate(&server.url(), &keys).await;
    let bench = Bench { redis: Redis::connect(&server.url(), keys).await.expect("Redis"), policy: one_at_a_time() };
    let mut crowd = Vec::new();
    let submission = bench.submission(&user("crowd")).await;
    for _ in 0..MANY {
        crowd.push(bench.enqueue(&user("crowd"), submission).await);
    }
    let consumer: Consumer = "bench-1".parse().expect("a name");
    let class = std::slice::from_ref(&bench.policy.default_class);
    let mut reader = bench.redis.reader(&consumer, class).await.expect("a reader");
    let (mut asked, mut started) = (HashMap::new(), HashMap::new());
    let mut begun = None;
    while started.len() < MANY + USERS {
        if started.len() == HEAD_START && asked.is_empty() {
            for number in 0..USERS {
                let user = user(&format!("user{number}"));
                let submission = bench.submission(&user).await;
                asked.insert(bench.enqueue(&user, submission).await, Instant::now());
            }
            begun = Some(Instant::now());
        }
        for claim in reader.claim(1, Duration::from_secs(1)).await.expect("tickets") {
            let job = claim.job;
            let place = started.len();
            started.insert(job, (place, bench.run(&consumer, claim).await));
        }
    }
    let run = begun.expect("they came").elapsed() / u32::try_from(MANY + USERS - HEAD_START).expect("few");
    let mut waits: Vec<_> = asked.iter().map(|(job, asked)| started[job].1.duration_since(*asked)).collect();
    waits.sort_unstable();
    let places = || asked.keys().map(|job| started[job].0);
    let (first, last) = (places().min().expect("some"), places().max().expect("some"));
    let between = crowd.iter().filter(|job| (first..last).contains(&started[*job].0)).count();
    println!(
        "\n## One worker slot, a user with {MANY} jobs and, when {HEAD_START} of them have run, {USERS} users with one each"
    );
    println!("one run (start, end, AOF always)                    {:>9.2} ms", run.as_secs_f64() * 1e3);
    println!("wait of the {USERS}: median                           {:>9.2} ms", waits[USERS / 2].as_secs_f64() * 1e3);
    println!("wait of the {USERS}: worst                            {:>9.2} ms", waits[USERS - 1].as_secs_f64() * 1e3);
    println!("jobs of the crowd that started among those {USERS}   {between:>9}");
    let behind = run * u32::try_from(MANY - HEAD_START).expect("few");
    println!("behind the whole crowd they would have waited       {:>9.2} ms", behind.as_secs_f64() * 1e3);
}

fn one_at_a_time() -> Policy {
    let limits = Limits { running: 1, concurrency: ConcurrencyPolicy::Queue, ..roomy().limits };
    Policy { limits, ..roomy() }
}

fn user(name: &str) -> UserId {
    name.parse().expect("a name")
}

struct Bench {
    redis: Redis,
    policy: Policy,
}

impl Bench {
    async fn job(&self, id: JobId, command: &JobCommand) {
        let origin = Origin { actor: Actor::System("bench".to_owned()), trace: None };
        execute::job(&self.redis, &self.policy, &origin, id, command, 1.0).await.expect("done");
    }

    async fn submission(&self, user: &UserId) -> SubmissionId {
        let id = SystemIds.submission();
        let manifest = Manifest {
            user: user.clone(),
            entrypoint: "main.py".to_owned(),
            config_file: "config.yaml".to_owned(),
            files: 2,
            bytes: 100,
            digest: String::new(),
            idempotency: None,
            archives: Vec::new(),
        };
        let origin = Origin { actor: Actor::User(user.clone()), trace: None };
        let create = SubmissionCommand::Create(manifest);
        execute::submission(&self.redis, &self.policy, &origin, id, &create).await.expect("a submission");
        id
    }

    async fn enqueue(&self, user: &UserId, submission: SubmissionId) -> JobId {
        let (id, class) = (SystemIds.job(), self.policy.default_class.clone());
        let spec = JobSpec { submission, user: user.clone(), class, config: "{}".to_owned(), idempotency: None };
        self.job(id, &JobCommand::Enqueue(spec)).await;
        id
    }

    /// Runs a job that does nothing, and gives when it had started.
    async fn run(&self, worker: &Consumer, Claim { job, ticket }: Claim) -> Instant {
        let fence = SystemIds.fence();
        let start = Start {
            fence: fence.clone(),
            ticket,
            worker: worker.clone(),
            gpus: vec![],
            sandbox: "off".to_owned(),
            tracking: Tracking::Off,
        };
        self.job(job, &JobCommand::Start(start)).await;
        let started = Instant::now();
        let (results, artifacts) = (Results::default(), ArtifactTotals::default());
        self.job(job, &JobCommand::Complete { fence, results, artifacts, tracked: None }).await;
        started
    }
}
