//! One suite a port, over every adapter of it. A suite speaks to the port; what an adapter is made of stands in
//! [`Bench`] alone.

mod artifacts;
mod audit;
mod copy;
mod event_log;
mod feed;
mod ids;
mod job_queue;
mod job_status;
mod leaderboard;
mod live_log;
mod log;
mod log_on_other_host;
mod progress;
mod quota;
mod records;
mod regress;
mod sign_in;
mod storage;
mod tracking;
mod tracking_notes;
mod uploads;
mod work_state;

use std::collections::BTreeMap;
use std::sync::Arc;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, ExecuteError, Origin};
use events::guard::Ticket;
use events::job::{ArtifactTotals, Rejection, Start, Tracking};
use events::ports::{Claim, Ids};
use events::submission::Manifest;
use events::{
    Actor, Consumer, Fence, Job, JobCommand, JobId, JobSpec, Policy, Results, SubmissionCommand, SubmissionId,
};
use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::redis_server::{Persistence, RedisServer, migrate};
use leadersboard_tests::roomy::{roomy, roomy_settings};
use projections::Keyspace;
use redis::aio::MultiplexedConnection;

/// A namespace with one submission, over the Redis adapter.
struct Bench {
    server: RedisServer,
    redis: Redis,
    keys: Keyspace,
    policy: Arc<Policy>,
    submission: SubmissionId,
}

impl Bench {
    async fn new() -> Self {
        let server = RedisServer::start(Persistence::Off).await;
        let keys = Keyspace::default();
        migrate(&server.url(), &keys).await;
        let policy = Arc::new(roomy());
        let redis = Redis::connect(&server.url(), keys.clone()).await.expect("Redis");
        execute::policy(&redis, &origin(), &roomy_settings()).await.expect("a policy");
        let submission = upload(&redis, "alice").await;
        Self { server, redis, keys, policy, submission }
    }

    /// A connection beside the port, to look at the keys or to break them.
    async fn raw(&self) -> MultiplexedConnection {
        self.server.connection().await
    }

    /// Puts Redis above its memory limit, or lifts the limit again.
    async fn limit_memory(&self, limit: MemoryLimit) {
        let bytes = match limit {
            MemoryLimit::Exceeded => "1",
            MemoryLimit::None => "0",
        };
        let mut set = redis::cmd("CONFIG");
        let _: () = set.arg(&["SET", "maxmemory", bytes]).query_async(&mut self.raw().await).await.expect("set");
    }

    async fn command(&self, id: JobId, command: &JobCommand) -> Result<Option<Job>, ExecuteError<Rejection>> {
        execute::job(&self.redis, &self.policy, &origin(), id, command, 1.0).await
    }

    fn spec(&self, user: &str, class: &str) -> JobSpec {
        let (user, class) = (user.parse().expect("a name"), class.parse().expect("a class"));
        JobSpec { submission: self.submission, user, class, config: "{}".to_owned(), idempotency: None }
    }

    async fn enqueue(&self, class: &str) -> JobId {
        let id = SystemIds.job();
        self.command(id, &JobCommand::Enqueue(self.spec("alice", class))).await.expect("accepted");
        id
    }

    async fn start(&self, claim: &Claim, worker: &Consumer) -> Fence {
        let fence = SystemIds.fence();
        let start = start(&fence, &claim.ticket, worker);
        self.command(claim.job, &JobCommand::Start(start)).await.expect("started");
        fence
    }

    async fn complete(&self, job: JobId, fence: &Fence) {
        self.try_to_complete(job, fence).await.expect("completed");
    }

    async fn try_to_complete(&self, job: JobId, fence: &Fence) -> Result<Option<Job>, ExecuteError<Rejection>> {
        let results = Results { metrics: BTreeMap::from([("auc".to_owned(), 0.5)]), ..Results::default() };
        let artifacts = ArtifactTotals::default();
        let complete = JobCommand::Complete { fence: fence.clone(), results, artifacts, tracked: None };
        self.command(job, &complete).await
    }

    async fn check(&self, expect: Expect) -> Folded {
        check(&self.server.url(), &self.keys, expect).await
    }
}

/// How much memory a Redis may use.
#[derive(Debug, Clone, Copy)]
enum MemoryLimit {
    /// Less than it does.
    Exceeded,
    /// As much as it wants.
    None,
}

/// Takes in a submission of a user's.
async fn upload(redis: &Redis, user: &str) -> SubmissionId {
    let id = SystemIds.submission();
    let create = SubmissionCommand::Create(Manifest {
        user: user.parse().expect("a name"),
        entrypoint: "main.py".to_owned(),
        config_file: "config.yaml".to_owned(),
        files: 2,
        bytes: 10,
        digest: String::new(),
        idempotency: None,
        archives: Vec::new(),
    });
    execute::submission(redis, &roomy(), &origin(), id, &create).await.expect("a submission");
    id
}

fn origin() -> Origin {
    Origin { actor: Actor::System("test".to_owned()), trace: None }
}

fn start(fence: &Fence, ticket: &Ticket, worker: &Consumer) -> Start {
    let (fence, ticket, worker) = (fence.clone(), ticket.clone(), worker.clone());
    Start { fence, ticket, worker, gpus: vec![], sandbox: "off".to_owned(), tracking: Tracking::Off }
}

fn consumer(name: &str) -> Consumer {
    name.parse().expect("a name")
}
