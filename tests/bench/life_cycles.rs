//! No-op life cycles a second: enqueue, claim, start, complete, ack, through the real ports, beside a small pipelined
//! client that does the same writes without any of our code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::{ArtifactTotals, Start, Tracking};
use events::ports::{Claim, EventLogPort, Ids, JobQueuePort};
use events::submission::Manifest;
use events::{Actor, Consumer, JobCommand, JobSpec, Policy, Results, SubmissionCommand, SubmissionId};
use leadersboard_tests::redis_server::{Persistence, RedisServer, migrate};
use leadersboard_tests::roomy::roomy;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use crate::statistics::median;

const ROUNDS: usize = 3;
const MODES: [(&str, Persistence, f64); 3] = [
    ("AOF off", Persistence::Off, 48_000.0),
    ("AOF everysec", Persistence::EverySecond, 34_000.0),
    ("AOF always", Persistence::Always, 26_000.0),
];

pub(crate) async fn print() {
    println!("\n## No-op life cycles a second, one worker process (median of {ROUNDS} rounds, ports and raw in turn)");
    println!(
        "{:<14} {:>9} {:>10} {:>10} {:>14} {:>7} {:>18}",
        "", "in flight", "ports", "raw, same", "raw, minimal", "ratio", "minimal/known"
    );
    for (name, persistence, known) in MODES {
        for in_flight in [1, 16, 256] {
            let (mut ports, mut same, mut minimal) = (vec![], vec![], vec![]);
            for _ in 0..ROUNDS {
                let server = RedisServer::start(persistence).await;
                ports.push(through_ports(&server, in_flight).await);
                same.push(raw(&server, Shape::Same).await);
                minimal.push(raw(&server, Shape::Minimal).await);
            }
            let [ports, same, minimal] = [&ports, &same, &minimal].map(|samples| median(samples));
            println!(
                "{name:<14} {in_flight:>9} {ports:>10.0} {same:>10.0} {minimal:>14.0} {:>7.2} {:>18.2}",
                ports / same,
                minimal / known
            );
        }
    }
    println!(
        "raw, same: the writes of a life cycle as plain commands, pipelined by 100; raw, minimal: enqueue, read, start,"
    );
    println!(
        "complete, ack, delete with one hash and one event each, which is what the known ceilings were measured with."
    );
}

async fn through_ports(server: &RedisServer, in_flight: usize) -> f64 {
    let keys = Keyspace::default();
    migrate(&server.url(), &keys).await;
    let policy = Arc::new(roomy());
    let redis = Redis::connect(&server.url(), keys).await.expect("Redis");
    let submission = submission(&redis).await;
    let count = if in_flight == 1 { 1_000 } else { 8_000 };
    let began = Instant::now();
    let producers = (0..in_flight.min(64)).map(|_| {
        let (redis, policy) = (redis.clone(), Arc::clone(&policy));
        tokio::spawn(async move {
            for _ in 0..count / in_flight.min(64) {
                enqueue(&redis, &policy, submission).await;
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    let total = (count / in_flight.min(64)) * in_flight.min(64);
    let consumer: Consumer = "bench-1".parse().expect("a name");
    let classes: Vec<_> = policy.classes.keys().cloned().collect();
    let mut reader = redis.reader(&consumer, &classes).await.expect("a reader");
    let mut runs = JoinSet::new();
    let mut done = 0;
    while done < total {
        let free = in_flight - runs.len();
        if free > 0 && done + runs.len() < total {
            for claim in reader.claim(free, Duration::from_secs(1)).await.expect("tickets") {
                runs.spawn(one_run(redis.clone(), Arc::clone(&policy), consumer.clone(), claim));
            }
        }
        if (free == 0 || done + runs.len() >= total) && runs.join_next().await.is_some() {
            done += 1;
        }
        while runs.try_join_next().is_some() {
            done += 1;
        }
    }
    let rate = total as f64 / began.elapsed().as_secs_f64();
    for producer in producers {
        producer.await.expect("a producer");
    }
    rate
}

async fn submission(redis: &Redis) -> SubmissionId {
    let id = SystemIds.submission();
    let manifest = Manifest {
        user: "bench".parse().expect("a name"),
        entrypoint: "main.py".to_owned(),
        config_file: "config.yaml".to_owned(),
        files: 2,
        bytes: 100,
        digest: String::new(),
        idempotency: None,
        archives: Vec::new(),
    };
    execute::submission(redis, &roomy(), &origin(), id, &SubmissionCommand::Create(manifest))
        .await
        .expect("a submission");
    id
}

fn origin() -> Origin {
    Origin { actor: Actor::System("bench".to_owned()), trace: None }
}

async fn enqueue(redis: &Redis, policy: &Policy, submission: SubmissionId) {
    let spec = JobSpec {
        submission,
        user: "bench".parse().expect("a name"),
        class: policy.default_class.clone(),
        config: "{}".to_owned(),
        idempotency: None,
    };
    let command = JobCommand::Enqueue(spec);
    execute::job(redis, policy, &origin(), SystemIds.job(), &command, 1.0).await.expect("accepted");
}

async fn one_run(redis: Redis, policy: Arc<Policy>, worker: Consumer, claim: Claim) {
    let log: &dyn EventLogPort = &redis;
    let fence = SystemIds.fence();
    let start = Start {
        fence: fence.clone(),
        ticket: claim.ticket,
        worker,
        gpus: vec![],
        sandbox: "off".to_owned(),
        tracking: Tracking::Off,
    };
    let start = JobCommand::Start(start);
    execute::job(log, &policy, &origin(), claim.job, &start, 1.0).await.expect("started");
    let (results, artifacts) = (Results::default(), ArtifactTotals::default());
    let complete = JobCommand::Complete { fence, results, artifacts, tracked: None };
    execute::job(log, &policy, &origin(), claim.job, &complete, 1.0).await.expect("completed");
}

/// Which writes the raw client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All that the ports write.
    Same,
    /// One hash, one event and one ticket.
    Minimal,
}

async fn raw(server: &RedisServer, shape: Shape) -> f64 {
    const BATCH: usize = 100;
    const BATCHES: usize = 60;
    let mut redis = server.connection().await;
    let _: Result<(), _> =
        redis::cmd("XGROUP").arg(&["CREATE", "raw:queue", "g", "0", "MKSTREAM"]).query_async(&mut redis).await;
    let began = Instant::now();
    for batch in 0..BATCHES {
        let jobs: Vec<String> = (0..BATCH).map(|n| format!("{shape:?}{batch:016}{n:016}")).collect();
        raw_batch(&mut redis, &jobs, shape).await;
    }
    (BATCH * BATCHES) as f64 / began.elapsed().as_secs_f64()
}

async fn raw_batch(redis: &mut MultiplexedConnection, jobs: &[String], shape: Shape) {
    let data = "x".repeat(if shape == Shape::Same { 120 } else { 64 });
    let mut enqueue = redis::pipe();
    for job in jobs {
        event(&mut enqueue, job, &data, shape);
        let hash = format!("raw:job:{job}");
        enqueue
            .cmd("HSET")
            .arg(&hash)
            .arg(&["v", "1", "state", "dispatched", "user", "bench", "config", "{}"])
            .ignore();
        if shape == Shape::Same {
            enqueue.cmd("HSET").arg(&hash).arg(&["events", "1732345678901-0", "class", "small", "since", "1"]).ignore();
            enqueue.cmd("ZADD").arg("raw:jobs").arg(1).arg(job).ignore();
            enqueue.cmd("ZADD").arg("raw:user").arg(1).arg(job).ignore();
            enqueue.cmd("ZADD").arg("raw:pending").arg(1).arg(job).ignore();
            enqueue.cmd("SADD").arg("raw:open").arg(job).ignore();
        }
        enqueue.cmd("XADD").arg("raw:queue").arg(&["*", "job", job]).ignore();
    }
    let () = enqueue.query_async(redis).await.expect("enqueued");
    let claimed: redis::streams::StreamReadReply = redis::cmd("XREADGROUP")
        .arg(&["GROUP", "g", "c", "COUNT"])
        .arg(jobs.len())
        .arg(&["STREAMS", "raw:queue", ">"])
        .query_async(redis)
        .await
        .expect("claimed");
    let mut start = redis::pipe();
    for job in jobs {
        event(&mut start, job, &data, shape);
        let hash = format!("raw:job:{job}");
        start.cmd("HSET").arg(&hash).arg(&["v", "2", "state", "running", "fence", "0123456789abcdef01234567"]).ignore();
        if shape == Shape::Same {
            start.cmd("HDEL").arg(&hash).arg("since").ignore();
            start.cmd("HSET").arg(&hash).arg(&["events", "1732345678901-0 1732345678901-0"]).ignore();
            start.cmd("ZREM").arg("raw:pending").arg(job).ignore();
            start
                .cmd("HSET")
                .arg("raw:leases")
                .arg(job)
                .arg("0123456789abcdef01234567 0 30000 bench-1 small 1-0")
                .ignore();
        }
    }
    let () = start.query_async(redis).await.expect("started");
    let mut complete = redis::pipe();
    for (job, ticket) in jobs.iter().zip(claimed.keys.iter().flat_map(|stream| &stream.ids)) {
        event(&mut complete, job, &data, shape);
        let hash = format!("raw:job:{job}");
        complete.cmd("HSET").arg(&hash).arg(&["v", "3", "state", "completed", "ended_at", "1732345678901000"]).ignore();
        if shape == Shape::Same {
            complete.cmd("HDEL").arg(&hash).arg("fence").ignore();
            complete
                .cmd("HSET")
                .arg(&hash)
                .arg(&["events", "1732345678901-0 1732345678901-0 1732345678901-0"])
                .ignore();
            complete.cmd("PEXPIREAT").arg(&hash).arg("4102444800000").ignore();
            complete.cmd("SREM").arg("raw:open").arg(job).ignore();
            let result = format!("raw:result:{job}");
            complete.cmd("HSET").arg(&result).arg(&["params", "{}", "metrics", "{}", "performance", "{}"]).ignore();
            complete.cmd("PEXPIREAT").arg(&result).arg("4102444800000").ignore();
            complete.cmd("HDEL").arg("raw:leases").arg(job).ignore();
        }
        complete.cmd("XACK").arg(&["raw:queue", "g", &ticket.id]).ignore();
        complete.cmd("XDEL").arg(&["raw:queue", &ticket.id]).ignore();
    }
    let () = complete.query_async(redis).await.expect("completed");
}

fn event(pipe: &mut redis::Pipeline, job: &str, data: &str, shape: Shape) {
    let command = pipe.cmd("XADD").arg("raw:events").arg("*").arg("type").arg("job.started").arg("data").arg(data);
    if shape == Shape::Same {
        command.arg(&["v", "1", "agg", job, "seq", "1", "at", "2026-11-23T10:00:00.000001Z"]);
        command.arg(&["actor", "system:bench", "trace", ""]);
    }
    command.ignore();
}
