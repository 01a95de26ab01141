//! What a user may have in use: exactly so much, whoever else asks at the same moment, and told in a way to go by.

use std::collections::BTreeMap;
use std::time::Duration;

use adapters::redis::Redis;
use chrono::DateTime;
use events::job::Waiting;
use events::{JobId, JobState, Timestamp};
use leadersboard_tests::board::{ALICE, BOB, Board, Finished, Process};
use leadersboard_tests::client::{Answer, Client, files};
use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::preload::Clock;
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::{Persistence, RedisServer, dump};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{scaled, until};
use nix::sys::signal::Signal;
use projections::Keyspace;
use redis::streams::StreamRangeReply;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::INSTANT;

const CROWD: usize = 200;
const HOUR: Duration = Duration::from_hours(1);

/// Two API processes on one Redis, and Alice as a client of each.
pub(super) struct Pair {
    pub(super) roles: Roles,
    pub(super) alice: [Client; 2],
    _apis: [Process; 2],
}

impl Pair {
    /// With these limits, and otherwise roomy ones.
    pub(super) async fn start(limits: &[(&str, &str)]) -> Self {
        let roles = Roles::new().await;
        roles.migrate(limits);
        let users = format!("alice:{ALICE},bob:{BOB}");
        let [(one, first), (two, second)] = ["one", "two"].map(|name| roles.api_with(name, &[("API_TOKENS", &users)]));
        Self { roles, alice: [first, second], _apis: [one, two] }
    }

    /// Bob as a client of the first.
    pub(super) fn bob(&self) -> Client {
        Client::new(self.alice[0].server(), BOB)
    }

    async fn now(&self) -> Timestamp {
        now(&self.roles).await
    }

    /// The answers to so many requests that Alice makes at once, of both in turn.
    async fn crowd(&self, submission: &str) -> Vec<Answer> {
        let body = json!({ "submission_id": submission });
        let ask = async |number: usize| self.alice[number % 2].post("/jobs", &body).await;
        futures::future::join_all((0..CROWD).map(ask)).await
    }
}

async fn now(roles: &Roles) -> Timestamp {
    let redis = Redis::connect(&roles.redis.url(), Keyspace::default()).await.expect("Redis");
    redis.now().await.expect("Redis's time")
}

/// Those that were accepted and those that were not.
fn split(answers: Vec<Answer>) -> (Vec<Answer>, Vec<Answer>) {
    answers.into_iter().partition(|answer| answer.status == 202)
}

fn time(text: &Value) -> Timestamp {
    DateTime::parse_from_rfc3339(text.as_str().expect("a time")).expect("RFC 3339").to_utc()
}

/// Asserts that an answer is this refusal, whose end nobody can tell.
fn assert_waits_for_a_job(answer: &Answer, code: &str, limit: u64) {
    let of = |key: &str| &answer.body[key];
    assert_eq!((answer.status, of("code"), of("limit")), (429, &json!(code), &json!(limit)), "{answer:?}");
    assert_eq!((of("remaining"), of("reset_at")), (&json!(0), &Value::Null), "{answer:?}");
    assert!(answer.retry_after.is_some_and(|seconds| seconds > 0), "{answer:?}");
}

async fn folded(roles: &Roles, expect: Expect) -> Folded {
    check(&roles.redis.url(), &Keyspace::default(), expect).await
}

/// Type and aggregate of every event, in the log's order.
async fn log(roles: &Roles) -> Vec<(String, String)> {
    let mut redis = roles.redis.connection().await;
    let read = redis::cmd("XRANGE").arg(Keyspace::default().events()).arg(&["-", "+"]).query_async(&mut redis).await;
    let log: StreamRangeReply = read.expect("the log");
    let field = |entry: &redis::streams::StreamId, name| entry.get::<String>(name).expect("a field");
    log.ids.iter().map(|entry| (field(entry, "type"), field(entry, "agg"))).collect()
}

/// Asserts that `next` got its slot in the commit that ended `ended`: nothing stands between the two in the log.
fn assert_handed_over(log: &[(String, String)], ended: &str, next: &str) {
    let entry = |kind: &str, job: &str| (kind.to_owned(), format!("job:{job}"));
    let end = log.iter().position(|found| *found == entry("job.completed", ended)).expect("it completed");
    assert_eq!(log[end + 1], entry("job.dispatched", next), "after the end of {ended}");
}

#[tokio::test]
async fn of_many_jobs_asked_for_at_once_exactly_as_many_are_accepted_as_fit_into_the_hour() {
    let pair = Pair::start(&[("MAX_SUBMISSIONS_PER_HOUR", "10")]).await;
    let submission = pair.alice[0].submit(INSTANT).await;
    let began = pair.now().await;
    let (accepted, refused) = split(pair.crowd(&submission).await);
    let ended = pair.now().await;
    assert_eq!((accepted.len(), refused.len()), (10, CROWD - 10));
    let folded = folded(&pair.roles, Expect::SomeOpen).await;
    assert_eq!(folded.jobs.len(), 10);
    let oldest = folded.jobs.values().map(|job| job.created_at).min().expect("ten");
    for answer in refused {
        let of = |key: &str| &answer.body[key];
        assert_eq!((answer.status, of("code")), (429, &json!("jobs_per_hour")), "{answer:?}");
        assert_eq!((of("limit"), of("remaining")), (&json!(10), &json!(0)), "{answer:?}");
        let off_ms = (time(of("reset_at")) - (oldest + HOUR)).num_milliseconds();
        assert!((-1_000..=1_000).contains(&off_ms), "{off_ms} ms off: {answer:?}");
        let seconds = i64::try_from(answer.retry_after.expect("Retry-After")).expect("seconds");
        let [earliest, latest] = [ended, began].map(|asked| (time(of("reset_at")) - asked).num_seconds());
        assert!((earliest..=latest + 1).contains(&seconds), "{seconds}, not {earliest} to {latest}: {answer:?}");
        assert!(answer.detail().contains("MAX_SUBMISSIONS_PER_HOUR"), "{answer:?}");
    }
}

#[tokio::test]
async fn of_many_jobs_asked_for_at_once_exactly_as_many_are_accepted_as_may_be_pending() {
    let pair = Pair::start(&[("MAX_QUEUED_PER_USER", "10"), ("MAX_CONCURRENT_RUNNING", "3")]).await;
    let submission = pair.alice[0].submit(INSTANT).await;
    let (accepted, refused) = split(pair.crowd(&submission).await);
    assert_eq!((accepted.len(), refused.len()), (10, CROWD - 10));
    for answer in refused {
        assert_waits_for_a_job(&answer, "queued", 10);
    }
    let folded = folded(&pair.roles, Expect::SomeOpen).await;
    let held = folded.jobs.values().filter(|job| job.state == JobState::Pending(Waiting::Held));
    assert_eq!((folded.jobs.len(), held.count()), (10, 7));
}

#[tokio::test]
async fn of_many_jobs_asked_for_at_once_exactly_as_many_get_a_slot_as_there_are() {
    let pair = Pair::start(&[("MAX_CONCURRENT_RUNNING", "1"), ("CONCURRENCY_POLICY", "queue")]).await;
    let submission = pair.alice[0].submit(INSTANT).await;
    let (accepted, refused) = split(pair.crowd(&submission).await);
    assert_eq!((accepted.len(), refused), (CROWD, vec![]));
    let folded = folded(&pair.roles, Expect::SomeOpen).await;
    let held = folded.jobs.values().filter(|job| job.state == JobState::Pending(Waiting::Held)).count();
    let slots = folded.jobs.values().filter(|job| job.holds_slot()).count();
    assert_eq!((slots, held), (1, CROWD - 1));
}

#[tokio::test]
async fn nobody_is_turned_away_because_slots_are_taken_and_given_back_all_the_time() {
    let pair = Pair::start(&[("MAX_CONCURRENT_RUNNING", "1"), ("CONCURRENCY_POLICY", "queue")]).await;
    let submission = pair.alice[0].submit(INSTANT).await;
    let come_and_go = async |number: usize| {
        let client = &pair.alice[number % 2];
        for _ in 0..10 {
            let job = client.enqueue(&submission, json!({})).await;
            let cancelled = client.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
            assert_eq!((cancelled.status, &cancelled.body["status"]), (202, &json!("cancelled")), "{cancelled:?}");
        }
    };
    futures::future::join_all((0..32).map(come_and_go)).await;
    assert_eq!(folded(&pair.roles, Expect::AllEnded).await.jobs.len(), 320);
}

#[tokio::test]
async fn while_as_many_run_as_may_a_further_job_is_refused() {
    let pair = Pair::start(&[("MAX_CONCURRENT_RUNNING", "1")]).await;
    let [alice, _] = &pair.alice;
    let gate = pair.roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    let first = alice.enqueue(&submission, json!({})).await;
    let second = alice.enqueue(&submission, json!({})).await;
    let _worker = pair.roles.worker("one", "1s");
    alice.wait_for(&first, "running").await;
    assert_waits_for_a_job(&alice.post("/jobs", &json!({ "submission_id": submission })).await, "running", 1);
    // Another user is another matter.
    let bobs = pair.bob().run(INSTANT).await;
    std::fs::write(&gate, "").expect("the gate");
    for job in [&first, &second] {
        alice.wait_for(job, "completed").await;
    }
    pair.bob().wait_for(&bobs, "completed").await;
    assert_handed_over(&log(&pair.roles).await, &first, &second);
    folded(&pair.roles, Expect::AllEnded).await;
}

#[tokio::test]
async fn while_as_many_run_as_may_a_further_job_is_held_if_that_is_the_policy() {
    let pair = Pair::start(&[("MAX_CONCURRENT_RUNNING", "1"), ("CONCURRENCY_POLICY", "queue")]).await;
    let [alice, _] = &pair.alice;
    let _worker = pair.roles.worker("one", "1s");
    let [gate, closed] = ["gate", "closed"].map(|name| pair.roles.gate(name));
    let first = alice.run(&gated(&gate)).await;
    alice.wait_for(&first, "running").await;
    let second = alice.run(&gated(&closed)).await;
    let third = alice.run(INSTANT).await;
    let reason = async |job: &str| alice.get(&format!("/jobs/{job}")).await.body["queue"]["reason"].clone();
    until("a worker is known of", Duration::from_secs(30), async || {
        (reason(&second).await == format!("waiting for your own running job {first}")).then_some(())
    })
    .await;
    let behind = format!("waiting for your own running job {first}; 1 more of your own come first");
    assert_eq!(reason(&third).await, behind);
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&second, "running").await;
    assert_eq!(reason(&third).await, format!("waiting for your own running job {second}"));
    std::fs::write(&closed, "").expect("the gate");
    alice.wait_for(&third, "completed").await;
    let log = log(&pair.roles).await;
    assert_handed_over(&log, &first, &second);
    assert_handed_over(&log, &second, &third);
    folded(&pair.roles, Expect::AllEnded).await;
}

/// How many of a user's jobs ran at the same time, at most.
async fn most_at_once(roles: &Roles, jobs: &[String]) -> usize {
    let (mut running, mut most) = (0_usize, 0);
    for (kind, aggregate) in log(roles).await {
        if !jobs.iter().any(|job| aggregate == format!("job:{job}")) {
            continue;
        }
        match kind.as_str() {
            "job.started" => running += 1,
            "job.completed" | "job.failed" | "job.cancelled" | "job.lease_lost" => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    most
}

#[tokio::test]
async fn no_more_of_a_users_jobs_run_at_once_than_may() {
    let pair = Pair::start(&[("MAX_CONCURRENT_RUNNING", "2"), ("CONCURRENCY_POLICY", "queue")]).await;
    let [alice, _] = &pair.alice;
    let submission = alice.submit(INSTANT).await;
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(alice.enqueue(&submission, json!({})).await);
    }
    let mut worker = pair.roles.worker_command("one", "1s");
    let _worker = Process::spawn({
        worker.env("WORKER_SLOTS", "4");
        worker
    });
    for job in &jobs {
        alice.wait_for(job, "completed").await;
    }
    assert_eq!(most_at_once(&pair.roles, &jobs).await, 2);
    folded(&pair.roles, Expect::AllEnded).await;
}

#[tokio::test]
async fn whoever_asks_for_many_jobs_is_in_nobodys_way() {
    const USERS: usize = 5;
    let roles = Roles::new().await;
    roles.migrate(&[("MAX_CONCURRENT_RUNNING", "1"), ("CONCURRENCY_POLICY", "queue")]);
    let token = |number: usize| format!("user-{number}-token-0123456789");
    let tokens: Vec<String> = (0..USERS).map(|number| format!("user{number}:{}", token(number))).collect();
    let (_api, crowd) = roles.api_with("api", &[("API_TOKENS", &format!("crowd:{ALICE},{}", tokens.join(",")))]);
    let submission = crowd.submit(INSTANT).await;
    let mut many = Vec::new();
    for _ in 0..30 {
        many.push(crowd.enqueue(&submission, json!({})).await);
    }
    let mut few = Vec::new();
    for number in 0..USERS {
        few.push(Client::new(crowd.server(), &token(number)).run(INSTANT).await);
    }
    let mut worker = roles.worker("one", "1s");
    crowd.wait_for(&many[2], "completed").await;
    worker.signal(Signal::SIGTERM);
    worker.wait();
    let started: Vec<String> =
        log(&roles).await.into_iter().filter(|(kind, _)| kind == "job.started").map(|(_, job)| job).collect();
    let place = |job: &String| started.iter().position(|found| *found == format!("job:{job}")).expect("it started");
    for job in &few {
        assert!(place(job) < place(&many[2]), "the crowd's third was before another's only one: {started:?}");
    }
    assert_eq!(most_at_once(&roles, &many).await, 1);
    folded(&roles, Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_job_that_never_started_gives_its_place_in_the_hour_back_when_it_is_cancelled() {
    let pair = Pair::start(&[("MAX_SUBMISSIONS_PER_HOUR", "2")]).await;
    let [alice, _] = &pair.alice;
    let submission = alice.submit(INSTANT).await;
    let hour = async || alice.get("/me").await.body["jobs_per_hour"].clone();
    let used = async |used: u64| {
        let found = hour().await;
        let told = (&found["limit"], &found["used"], &found["remaining"]);
        assert_eq!(told, (&json!(2), &json!(used), &json!(2 - used)), "{found}");
        assert_eq!(found["reset_at"].is_null(), used < 2, "{found}");
    };
    let cancel = async |job: &str| {
        let cancelled = alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
        assert_eq!(cancelled.body["status"], "cancelled", "{cancelled:?}");
    };
    let refused = async || {
        let answer = alice.post("/jobs", &json!({ "submission_id": submission })).await;
        assert_eq!((answer.status, &answer.body["reset_at"]), (429, &hour().await["reset_at"]), "{answer:?}");
    };
    used(0).await;
    let first = alice.enqueue(&submission, json!({})).await;
    used(1).await;
    let second = alice.enqueue(&submission, json!({})).await;
    used(2).await;
    refused().await;
    cancel(&first).await;
    used(1).await;
    let third = alice.enqueue(&submission, json!({})).await;
    used(2).await;
    cancel(&second).await;
    used(1).await;
    let fourth = alice.enqueue(&submission, json!({})).await;
    // As many were given back as fit into an hour.
    for job in [&third, &fourth] {
        cancel(job).await;
        used(2).await;
        refused().await;
    }
    folded(&pair.roles, Expect::AllEnded).await;
}

#[tokio::test]
async fn the_hour_slides() {
    let clock = Clock::new();
    let roles = Roles::on(RedisServer::start_with(Persistence::Always, clock.environment()).await);
    roles.migrate(&[("MAX_SUBMISSIONS_PER_HOUR", "1"), ("MAX_UPLOADS_PER_HOUR", "1")]);
    let (_api, alice) = roles.api_with("api", &[]);
    let submission = alice.submit(INSTANT).await;
    let asked = json!({ "submission_id": submission });
    let program = || files(&[("main.py", INSTANT), ("config.yaml", "")]);
    alice.enqueue(&submission, json!({})).await;
    let job = alice.post("/jobs", &asked).await;
    let upload = alice.upload(program()).await;
    for (refused, code) in [(&job, "jobs_per_hour"), (&upload, "uploads_per_hour")] {
        assert_eq!((refused.status, &refused.body["code"]), (429, &json!(code)), "{refused:?}");
    }
    // Not one second too early.
    clock.set_ahead(Duration::from_mins(59));
    assert_eq!(alice.post("/jobs", &asked).await.status, 429);
    assert!(alice.post("/jobs", &asked).await.retry_after.is_some_and(|seconds| seconds <= 60));
    clock.set_ahead(HOUR + Duration::from_secs(1));
    assert_eq!(alice.post("/jobs", &asked).await.status, 202);
    assert_eq!(alice.upload(program()).await.status, 201);
    assert_eq!(alice.post("/jobs", &asked).await.status, 429);
    let me = alice.get("/me").await.body;
    let left_s = (time(&me["jobs_per_hour"]["reset_at"]) - now(&roles).await).num_seconds();
    assert!((3_590..=3_600).contains(&left_s), "{left_s} s: {me}");
    folded(&roles, Expect::SomeOpen).await;
}

/// What is in the folder of uploads, and all that Redis holds.
async fn kept(roles: &Roles) -> (Vec<String>, BTreeMap<String, Vec<u8>>) {
    (
        uploads(roles),
        dump(&mut roles.redis.connection().await).await.into_iter().map(|(key, value, _)| (key, value)).collect(),
    )
}

/// The names of what was uploaded, and of what is on the way.
pub(super) fn uploads(roles: &Roles) -> Vec<String> {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(roles.data.path().join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let mut found = names("uploads");
    found.retain(|name| name != ".staging" && name != ".boards");
    found.extend(names("uploads/.staging"));
    found
}

/// Announces an upload of so many bytes, sends none of them, and gives the answer.
async fn announce(client: &Client, bytes: u64) -> String {
    let address = client.server().trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /submissions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: {bytes}\r\n\
         Connection: close\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.expect("a head");
    let mut answer = vec![0; 4_096];
    let length = tokio::time::timeout(scaled(Duration::from_secs(10)), connection.read(&mut answer));
    let length = length.await.expect("it is answered by its head alone").expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn an_upload_over_a_limit_is_refused_before_it_is_read_and_nothing_of_it_is_kept() {
    let pair = Pair::start(&[("MAX_UPLOADS_PER_HOUR", "2"), ("MAX_STORED_BYTES_PER_USER", "3000000")]).await;
    let [alice, _] = &pair.alice;
    alice.submit(INSTANT).await;
    let before = kept(&pair.roles).await;
    let stored = alice.get("/me").await.body["stored_bytes"].clone();
    assert_eq!(
        stored["used"].as_u64().zip(stored["remaining"].as_u64()).map(|(used, left)| used + left),
        Some(3_000_000)
    );

    // Whatever the form may take beside its files, they do not fit.
    let answer = announce(alice, 4_500_000).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("\"stored_bytes\""), "{answer}");
    // Whoever sends it all the same can read why not.
    let huge = alice.upload(files(&[("main.py", &"#".repeat(30 << 20)), ("config.yaml", "")])).await;
    assert_eq!((huge.status, &huge.body["code"]), (429, &json!("stored_bytes")), "{huge:?}");
    let large = files(&[("main.py", &"#".repeat(2_999_990)), ("config.yaml", "")]);
    let answer = alice.upload(large).await;
    let of = |key: &str| &answer.body[key];
    assert_eq!(
        (answer.status, of("code"), of("limit")),
        (429, &json!("stored_bytes"), &json!(3_000_000)),
        "{answer:?}"
    );
    assert_eq!((of("remaining"), of("reset_at")), (&stored["remaining"], &Value::Null), "{answer:?}");
    assert_eq!(kept(&pair.roles).await, before);

    alice.submit(INSTANT).await;
    let before = kept(&pair.roles).await;
    let answer = announce(alice, 1_000).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("\"uploads_per_hour\""), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nretry-after: 3"), "{answer}");
    assert_eq!(kept(&pair.roles).await, before);
    assert_eq!(pair.bob().upload(files(&[("main.py", INSTANT), ("config.yaml", "")])).await.status, 201);
    folded(&pair.roles, Expect::AllEnded).await;
}

#[tokio::test]
async fn of_many_uploads_at_once_exactly_as_many_are_taken_in_as_fit_into_the_hour() {
    let pair = Pair::start(&[("MAX_UPLOADS_PER_HOUR", "3")]).await;
    let program = || files(&[("main.py", INSTANT), ("config.yaml", "")]);
    let uploaded =
        futures::future::join_all((0..50).map(async |number| pair.alice[number % 2].upload(program()).await));
    let (taken, refused): (Vec<_>, Vec<_>) = uploaded.await.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((taken.len(), refused.len()), (3, 47));
    for answer in refused {
        assert_eq!((answer.status, &answer.body["code"]), (429, &json!("uploads_per_hour")), "{answer:?}");
        assert!(answer.retry_after.is_some_and(|seconds| (3_590..=3_600).contains(&seconds)), "{answer:?}");
    }
    let mut ids: Vec<String> =
        taken.iter().map(|answer| answer.body["submission_id"].as_str().expect("an id").to_owned()).collect();
    let mut kept = uploads(&pair.roles);
    ids.sort();
    kept.sort();
    assert_eq!(kept, ids, "the folders that are there");
    folded(&pair.roles, Expect::AllEnded).await;
}

#[tokio::test]
async fn the_command_line_shows_what_is_left_and_when_to_try_again() {
    let board = Board::start(&[("MAX_SUBMISSIONS_PER_HOUR", "1")]).await;
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("main.py"), INSTANT).expect("a file");
    std::fs::write(folder.path().join("config.yaml"), "seed: 1\n").expect("a file");
    let folder = folder.path().display().to_string();
    let me = board.run(["me", "--json"]).json();
    assert_eq!(
        (&me["user_id"], &me["role"], &me["jobs_per_hour"]["used"]),
        (&json!("alice"), &json!("user"), &json!(0))
    );
    assert_eq!(board.run(["submit", &folder, "--watch"]).code, Some(0));
    let me = board.run(["me"]);
    let hour = me.stdout.lines().find(|line| line.starts_with("jobs an hour")).unwrap_or_else(|| panic!("{me:?}"));
    let words: Vec<&str> = hour.split_whitespace().collect();
    assert!(me.stdout.starts_with("alice (user)\n") && words[3..6] == ["1", "1", "0"], "{me:?}");
    assert!(hour.contains(" UTC (in "), "{me:?}");
    let refused = board.run(["submit", &folder]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
    let again = ["1 h.", "59 min "].map(|wait| format!("(MAX_SUBMISSIONS_PER_HOUR). Try again in {wait}"));
    assert!(again.iter().any(|again| refused.stderr.contains(again)), "{refused:?}");
    assert!(refused.stderr.contains("leadersboard submit --submission "), "{refused:?}");
    // Should any of it be sent twice, it is done once.
    let log = super::all_is_well(&board).await;
    assert!(log.jobs.values().all(|job| job.spec.idempotency.is_some()));
    assert!(log.submissions.values().all(|submission| submission.manifest.idempotency.is_some()));
}

#[tokio::test]
async fn limits_that_are_set_are_followed_by_whoever_runs() {
    let pair = Pair::start(&[("MAX_CONCURRENT_RUNNING", "1"), ("MAX_SUBMISSIONS_PER_HOUR", "2")]).await;
    let [alice, other] = &pair.alice;
    let gate = pair.roles.gate("gate");
    let submission = alice.submit(&gated(&gate)).await;
    let [first, second] = [alice.enqueue(&submission, json!({})).await, alice.enqueue(&submission, json!({})).await];
    let mut worker = pair.roles.worker_command("one", "1s");
    worker.env("WORKER_SLOTS", "2");
    let _worker = Process::spawn(worker);
    alice.wait_for(&first, "running").await;
    assert_eq!(alice.post("/jobs", &json!({ "submission_id": submission })).await.body["code"], "jobs_per_hour");
    let set = ["policy", "set", "--max-submissions-per-hour", "3", "--max-concurrent-running", "2"];
    let set = pair.roles.command(&set).env("USER", "root").output().expect("the binary runs");
    assert!(set.status.success(), "{:?}", Finished::of(set));
    for client in [alice, other] {
        until("the API follows", Duration::from_secs(12), async || {
            let me = client.get("/me").await.body;
            (me["jobs_per_hour"]["limit"] == 3 && me["running"]["limit"] == 2).then_some(())
        })
        .await;
    }
    // Who was held has a slot now.
    alice.wait_for(&second, "running").await;
    assert_eq!(alice.post("/jobs", &json!({ "submission_id": submission })).await.body["code"], "running");
    std::fs::write(&gate, "").expect("the gate");
    for job in [&first, &second] {
        alice.wait_for(job, "completed").await;
    }
    let third = other.enqueue(&submission, json!({})).await;
    alice.wait_for(&third, "completed").await;
    let folded = folded(&pair.roles, Expect::AllEnded).await;
    assert!(folded.jobs.contains_key(&third.parse::<JobId>().expect("an id")));
}
