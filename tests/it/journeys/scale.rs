//! What a call costs does not grow with what is stored: Redis itself tells what it is asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::ports::{EventLogPort, Ids};
use events::submission::Manifest;
use events::{
    Actor, Change, Commit, Envelope, JobEvent, JobSpec, Lane, Policy, SubmissionEvent, SubmissionId, Timestamp,
    WorkChange,
};
use leadersboard_tests::board::ROOT;
use leadersboard_tests::client::{Answer, Client};
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::redis_server::{Persistence, RedisServer};
use leadersboard_tests::roles::Roles;
use projections::Keyspace;
use projections::keys::ReadModel;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::INSTANT;

/// Enough that two pages of [`PAGE`] are full.
const FEW: usize = 120;
const MANY: usize = 3_000;
const PAGE: usize = 50;
/// No command may read more entries than this at once.
const BOUND: i64 = 1_000;

/// How often each command was called.
type Cost = BTreeMap<String, usize>;

#[tokio::test]
async fn a_call_costs_with_thousands_stored_what_it_costs_with_few() {
    let roles = Roles::on(RedisServer::start(Persistence::Off).await);
    let migrated = roles.command(&["migrate"]).output().expect("the binary runs");
    assert!(migrated.status.success(), "{migrated:?}");
    let (_api, alice) = roles.api_with("api", &[("ADMIN_TOKENS", &format!("root:{ROOT}"))]);
    let root = Client::new(alice.server(), ROOT);
    let keys = Keyspace::default();
    let mut watch = Watch::new(&roles.redis).await;
    let crowd = Crowd::new(&roles.redis, &keys).await;

    // The first of all calls load their scripts.
    crowd.store(FEW).await;
    costs(&mut watch, &alice, &root).await;
    crowd.store(FEW).await;
    let few = costs(&mut watch, &alice, &root).await;
    crowd.store(MANY).await;
    let many = costs(&mut watch, &alice, &root).await;
    for ((call, few), (_, many)) in few.into_iter().zip(many) {
        assert_eq!(few, many, "{call} costs more where more is stored");
    }
    check(&roles.redis.url(), &keys, Expect::SomeOpen).await;
}

/// What each call costs. The lists come first, so that they show what was stored last.
async fn costs(watch: &mut Watch, alice: &Client, root: &Client) -> Vec<(&'static str, Cost)> {
    let mut costs = Vec::new();
    for (call, list) in [
        ("GET /jobs?limit=50", "jobs"),
        ("GET /jobs?limit=50&user=crowd", "jobs"),
        ("GET /submissions?limit=50", "submissions"),
        ("GET /submissions?limit=50&user=crowd", "submissions"),
    ] {
        let path = &call["GET ".len()..];
        let (first, cost) = watch.call(root.get(path)).await;
        costs.push((call, cost));
        let cursor = first.body["next_cursor"].as_str().expect("there is more");
        let (second, cost) = watch.call(root.get(&format!("{path}&cursor={cursor}"))).await;
        costs.push((call, cost));
        for page in [first, second] {
            assert_eq!(page.body[list].as_array().map(Vec::len), Some(PAGE), "{call}");
        }
    }
    let (submitted, cost) = watch.call(alice.submit(INSTANT)).await;
    costs.push(("POST /submissions", cost));
    let submission = json!({ "submission_id": submitted });
    let (accepted, cost) = watch.call(alice.post("/jobs", &submission)).await;
    costs.push(("POST /jobs", cost));
    let job = accepted.body["job_id"].as_str().unwrap_or_else(|| panic!("{accepted:?}")).to_owned();
    for (call, path) in [
        ("GET /jobs/{id}", format!("/jobs/{job}")),
        ("GET /jobs/{id}/status", format!("/jobs/{job}/status")),
        ("GET /jobs/{id}/events", format!("/jobs/{job}/events")),
        ("GET /submissions/{id}", format!("/submissions/{submitted}")),
    ] {
        let (answer, cost): (Answer, Cost) = watch.call(alice.get(&path)).await;
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        costs.push((call, cost));
    }
    let path = format!("/jobs/{job}/cancel");
    let (cancelled, cost) = watch.call(alice.post(&path, &json!({}))).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    costs.push(("POST /jobs/{id}/cancel", cost));
    for (call, cost) in &costs {
        assert!(!cost.is_empty(), "{call} asks Redis nothing?");
    }
    costs
}

/// Everything that a Redis is asked, by scripts too, in order.
struct Watch {
    lines: BufReader<UnixStream>,
    /// Marks the beginnings and ends of calls.
    marks: MultiplexedConnection,
    calls: usize,
}

impl Watch {
    async fn new(server: &RedisServer) -> Self {
        let mut lines = BufReader::new(monitor(&server.socket()).await);
        let mut line = String::new();
        lines.read_line(&mut line).await.expect("an answer");
        assert_eq!(line, "+OK\r\n");
        Self { lines, marks: server.connection().await, calls: 0 }
    }

    /// Makes a call, and gives what it cost. Nothing it asks may be one that grows with what is stored.
    async fn call<T>(&mut self, call: impl Future<Output = T>) -> (T, Cost) {
        self.calls += 1;
        let [from, to] = ["begin", "end"].map(|mark| format!("{mark} {}", self.calls));
        self.mark(&from).await;
        let answer = call.await;
        self.mark(&to).await;
        let mut cost = Cost::new();
        let mut begun = false;
        loop {
            let command = self.next().await;
            begun |= command[1..] == [from.as_str()];
            if command[1..] == [to.as_str()] {
                return (answer, cost);
            }
            if !begun || command[0] == "ECHO" {
                continue;
            }
            assert_bounded(&command);
            if !is_of_the_process(&command) {
                *cost.entry(command[0].clone()).or_default() += 1;
            }
        }
    }

    async fn mark(&mut self, mark: &str) {
        let _: String = redis::cmd("ECHO").arg(mark).query_async(&mut self.marks).await.expect("an echo");
    }

    async fn next(&mut self) -> Vec<String> {
        // Scripts are sent bytes that are no text: Redis shows those escaped.
        let mut line = String::new();
        self.lines.read_line(&mut line).await.expect("a line");
        let mut words = words(&line);
        assert!(!words.is_empty(), "{line:?}");
        words[0].make_ascii_uppercase();
        words
    }
}

async fn monitor(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.expect("Redis listens");
    stream.write_all(b"MONITOR\r\n").await.expect("it is sent");
    stream
}

/// The quoted words of a line such as `+1763892000.123456 [0 lua] "GET" "a key"`.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (char, &mut word) {
            ('"', None) => word = Some(String::new()),
            ('"', Some(_)) => words.extend(word.take()),
            ('\\', Some(word)) => word.extend(chars.next()),
            (_, Some(word)) => word.push(char),
            (_, None) => {}
        }
    }
    words
}

/// Refuses what reads all of something that grows.
fn assert_bounded(command: &[String]) {
    let keys = Keyspace::default();
    let upper: Vec<String> = command.iter().map(|word| word.to_ascii_uppercase()).collect();
    let after = |word: &str, places: usize| -> Option<i64> {
        let at = upper.iter().position(|found| found == word)?;
        upper.get(at + places)?.parse().ok()
    };
    let bounded = |count: Option<i64>| count.is_some_and(|count| (0..=BOUND).contains(&count));
    let fine = match command[0].as_str() {
        "SCAN" | "SSCAN" | "HSCAN" | "ZSCAN" | "KEYS" | "SMEMBERS" | "HKEYS" | "HVALS" | "SORT" | "SUNION"
        | "SINTER" | "SDIFF" | "ZUNION" | "ZINTER" | "ZDIFF" => false,
        // What belongs to one aggregate is small.
        "HGETALL" => {
            matches!(keys.read_model(&command[1]), Some(ReadModel::Hash(_) | ReadModel::Results(_)))
                // At most MAX_UPLOADS_IN_FLIGHT.
                || command[1] == keys.uploads_in_flight(&"alice".parse().expect("a name"))
        }
        // There are as many as there are workers.
        "ZRANGE" if command[1] == keys.workers() => true,
        "ZRANGEBYSCORE" | "ZREVRANGEBYSCORE" => bounded(after("LIMIT", 2)),
        "ZRANGE" if upper.contains(&"BYSCORE".to_owned()) => bounded(after("LIMIT", 2)),
        // From one place to another; -1 is the end.
        "LRANGE" | "ZRANGE" | "ZREVRANGE" => bounded(command[3].parse().ok()),
        "XRANGE" | "XREVRANGE" => command[2] == command[3] || bounded(after("COUNT", 1)),
        "XREAD" => bounded(after("COUNT", 1)),
        "XPENDING" => command.len() == 3 || command.len() > 5,
        _ => true,
    };
    assert!(fine, "{} reads all of something that grows", command.join(" "));
}

/// Whether it is not for a call that it was asked: a process asks now and then whether Redis is there and what the
/// policy is, and once a second, for all who ask meanwhile, who would run what waits.
fn is_of_the_process(command: &[String]) -> bool {
    let keys = Keyspace::default();
    let live = ["worker:", "durations:"].map(|name| keys.pattern().replace('*', name));
    let key = command.get(1).map_or("", String::as_str);
    ["PING", "XINFO", "INFO", "CLIENT"].contains(&command[0].as_str())
        || key == keys.policy()
        || key == keys.workers()
        || live.iter().any(|prefix| key.starts_with(prefix))
}

/// A user who has much.
struct Crowd {
    redis: Redis,
    spec: JobSpec,
    manifest: Manifest,
}

impl Crowd {
    async fn new(server: &RedisServer, keys: &Keyspace) -> Self {
        let redis = Redis::connect(&server.url(), keys.clone()).await.expect("Redis");
        let manifest = Manifest {
            user: "crowd".parse().expect("a name"),
            entrypoint: "main.py".to_owned(),
            config_file: "config.yaml".to_owned(),
            files: 2,
            bytes: 10,
            digest: String::new(),
            idempotency: None,
            archives: Vec::new(),
        };
        let class = Policy::default().default_class;
        let spec = JobSpec {
            submission: SystemIds.submission(),
            user: manifest.user.clone(),
            class,
            config: "{}".into(),
            idempotency: None,
        };
        Self { redis, spec, manifest }
    }

    /// Stores so many submissions more, each with a job that waits, by commits that nothing but the limits is left out
    /// of.
    async fn store(&self, count: usize) {
        let mut commits = JoinSet::new();
        let at = self.redis.now().await.expect("Redis's time");
        for number in 0..count {
            let at = at + Duration::from_millis(number as u64);
            let submission = SystemIds.submission();
            for commit in [self.uploaded(submission, at), self.enqueued(submission, at)] {
                let redis = self.redis.clone();
                commits.spawn(async move { redis.commit(commit).await.expect("committed") });
            }
        }
        commits.join_all().await;
    }

    fn uploaded(&self, id: SubmissionId, at: Timestamp) -> Commit {
        let events = vec![first(at, SubmissionEvent::Created(self.manifest.clone()))];
        let change = Change::Submission { id, before: None, events };
        Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Admission }
    }

    fn enqueued(&self, submission: SubmissionId, at: Timestamp) -> Commit {
        let id = SystemIds.job();
        let spec = JobSpec { submission, ..self.spec.clone() };
        let work = vec![WorkChange::AddTicket { class: spec.class.clone(), job: id }];
        let events = vec![first(at, JobEvent::Enqueued { spec, dispatched: true })];
        let change = Change::Job { id, before: None, events };
        Commit { change, next: None, guards: vec![], work, lane: Lane::Admission }
    }
}

/// The first event of an aggregate.
fn first<E>(at: Timestamp, event: E) -> Envelope<E> {
    Envelope { seq: 1, at, actor: Actor::System("test".to_owned()), trace: None, event }
}
