//! A job's status as it changes, followed by whoever wants to, through whatever cuts the connection.

use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::{Start, Tracking};
use events::ports::{Claim, Ids, JobQueuePort, TicketReader};
use events::{Actor, Consumer, Fence, JobCommand, JobId, Policy};
use futures::StreamExt;
use leadersboard_tests::board::{ALICE, BOB, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::{come_back_as_at, cut_all_others, dump};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::roomy::roomy;
use leadersboard_tests::sse::{Message, Stream};
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{INSTANT, all_is_well};

const SOON: Duration = Duration::from_secs(20);

/// What a message is, in short: its kind, its id, what happened and the status.
fn short(message: &Message) -> (&str, Option<u64>, &str, &str) {
    let text = |key: &str| message.data[key].as_str().unwrap_or_default();
    (&message.event, message.id.as_ref().map(|id| id.parse().expect("a number")), text("type"), text("status"))
}

const STARTED: (&str, Option<u64>, &str, &str) = ("status", Some(2), "job.started", "running");
const COMPLETED: (&str, Option<u64>, &str, &str) = ("status", Some(3), "job.completed", "completed");
const END: (&str, Option<u64>, &str, &str) = ("end", None, "", "completed");

async fn next(stream: &mut Stream) -> Message {
    stream.next().await.expect("a message")
}

async fn refused(client: &Client, job: &str, last_event_id: &'static str) -> u16 {
    let request = client.request(Method::GET, &format!("/jobs/{job}/stream"));
    client.send(request.header("last-event-id", last_event_id)).await.status
}

#[tokio::test]
async fn every_change_is_told_in_order_by_every_api_and_then_the_end() {
    let roles = Roles::new().await;
    let (_one, alice) = roles.api();
    let (_other, elsewhere) = roles.api_with("other", &[]);
    let job = alice.run(INSTANT).await;
    let path = format!("/jobs/{job}/stream");
    let mut streams =
        [alice.stream(&path, None).await, alice.stream(&path, None).await, elsewhere.stream(&path, None).await];
    for stream in &mut streams {
        assert_eq!(stream.header("content-type"), "text/event-stream");
        assert_eq!((stream.header("cache-control"), stream.header("x-accel-buffering")), ("no-store", "no"));
        let found = next(stream).await;
        assert_eq!(short(&found), ("status", Some(1), "", "pending"));
        let status = alice.get(&format!("/jobs/{job}/status")).await.body;
        for (key, value) in status.as_object().expect("an object") {
            assert_eq!(&found.data[key], value, "{key} is that of the status");
        }
        assert_eq!((&found.data["seq"], &found.data["attempt"]), (&json!(1), &json!(0)));
    }
    let _worker = roles.worker("one", "30s");
    for stream in streams {
        let told = stream.rest().await;
        assert_eq!(told.iter().map(short).collect::<Vec<_>>(), [STARTED, COMPLETED, END]);
        assert_eq!(told[0].data["attempt"], json!(1));
    }

    // Who comes back gets what is missing, who comes late how it ended.
    let from = async |id: Option<&str>| alice.stream(&path, id).await.rest().await;
    let again = from(Some("0")).await;
    assert_eq!(short(&again[0]), ("status", Some(1), "job.enqueued", "pending"));
    assert_eq!(again[1..].iter().map(short).collect::<Vec<_>>(), [STARTED, COMPLETED, END]);
    assert_eq!(from(Some("2")).await.iter().map(short).collect::<Vec<_>>(), [COMPLETED, END]);
    assert_eq!(from(Some("3")).await.iter().map(short).collect::<Vec<_>>(), [END]);
    let found = ("status", Some(3), "", "completed");
    assert_eq!(from(None).await.iter().map(short).collect::<Vec<_>>(), [found, END]);
    assert_eq!(from(Some("99")).await.iter().map(short).collect::<Vec<_>>(), [found, END], "an id of another history");
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_stream_tells_why_a_job_failed_and_nothing_to_strangers() {
    let board = Board::start(&[]).await;
    let (alice, bob) = (Client::new(board.server(), ALICE), Client::new(board.server(), BOB));
    let job = alice.run("raise ValueError('no such luck')\n").await;
    let told = alice.stream(&format!("/jobs/{job}/stream"), None).await.rest().await;
    let end = told.last().expect("an end");
    assert_eq!((end.event.as_str(), &end.data["status"]), ("end", &json!("failed")));
    assert!(end.data["error"].as_str().is_some_and(|error| error.contains("no such luck")), "{end:?}");
    assert_eq!(refused(&alice, &job, "three").await, 400);
    assert_eq!(refused(&bob, &job, "1").await, 404);
    assert_eq!(bob.get(&format!("/jobs/{job}/stream")).await.status, 404);
    assert_eq!(alice.get("/jobs/0192f1c3a4b57c6d8e9fa0b1c2d3e4f5/stream").await.status, 404);
    all_is_well(&board).await;
}

#[tokio::test]
async fn what_a_running_job_does_is_told_between_its_changes() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let mut stream = alice.stream(&format!("/jobs/{job}/stream"), None).await;
    let told = loop {
        let message = stream.next_of_any_kind().await.expect("a message");
        if message.event == "stage" && message.data["name"] == "running" {
            break message;
        }
    };
    assert_eq!(told.id, None, "a client goes on from the last change");
    let shown = alice.get(&format!("/jobs/{job}")).await.body;
    assert_eq!((&shown["status"], &shown["stage"]), (&json!("running"), &told.data));
    assert!(shown["stage"]["since"].as_str().expect("a time").ends_with('Z'));
    let report = board.run(["jobs", "show", &job]).stdout;
    assert!(report.contains("stage:"), "{report}");

    std::fs::write(&gate, "").expect("the gate");
    let rest = stream.rest().await;
    assert_eq!(rest.iter().map(short).collect::<Vec<_>>(), [COMPLETED, END]);
    assert_eq!(alice.get(&format!("/jobs/{job}")).await.body["stage"], json!(null));
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_client_that_comes_back_after_a_crash_of_everything_misses_nothing() {
    let mut board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let path = format!("/jobs/{job}/stream");
    let mut stream = alice.stream(&path, Some("0")).await;
    let mut told = vec![next(&mut stream).await, next(&mut stream).await];
    assert_eq!(short(&told[1]), STARTED);

    board.crash_and_restart().await;
    assert_eq!(stream.next().await, None, "it was cut, and nothing says that the job is over");
    let alice = Client::new(board.server(), ALICE);
    let mut stream = alice.stream(&path, told[1].id.as_deref()).await;
    std::fs::write(&gate, "").expect("the gate");
    while told.last().is_some_and(|message| message.event != "end") {
        told.push(next(&mut stream).await);
    }
    assert_eq!(stream.next().await, None);
    let end = told.pop().expect("an end");
    assert_eq!((&end.data["status"], &end.data["attempt"]), (&json!("completed"), &json!(2)));

    let seqs: Vec<u64> = told.iter().filter_map(|message| short(message).1).collect();
    assert_eq!(seqs, (1..=told.len() as u64).collect::<Vec<_>>(), "each once, in order, with no gap");
    let history = alice.get(&format!("/jobs/{job}/events")).await.body;
    let kinds: Vec<&Value> = history["events"].as_array().expect("a list").iter().map(|event| &event["type"]).collect();
    assert_eq!(told.iter().map(|message| &message.data["type"]).collect::<Vec<_>>(), kinds);
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_stream_goes_on_when_redis_comes_back() {
    let mut roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let job = alice.run(INSTANT).await;
    let mut stream = alice.stream(&format!("/jobs/{job}/stream"), Some("1")).await;
    roles.redis = roles.redis.crash_and_restart().await;
    let _worker = roles.worker("one", "30s");
    let told = [next(&mut stream).await, next(&mut stream).await, next(&mut stream).await];
    assert_eq!(told.each_ref().map(short), [STARTED, COMPLETED, END]);
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn an_orderly_end_of_the_api_ends_its_streams_at_once_and_tells_no_end() {
    let roles = Roles::new().await;
    let (mut api, alice) = roles.api();
    let job = alice.run(INSTANT).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(alice.stream(&format!("/jobs/{job}/stream"), None).await);
    }
    for stream in &mut streams {
        next(stream).await;
    }
    api.signal(Signal::SIGTERM);
    for stream in streams {
        assert_eq!(stream.rest().await, []);
    }
    until("the API has ended", Duration::from_secs(5), async || api.has_ended().then_some(())).await;
    assert!(!roles.words("api").contains("cut off"), "{}", roles.words("api"));
}

#[tokio::test]
async fn whoever_was_told_what_redis_then_lost_is_told_how_things_stand() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let job = alice.run(INSTANT).await;
    let mut raw = roles.redis.connection().await;
    let before = dump(&mut raw).await;
    let mut stream = alice.stream(&format!("/jobs/{job}/stream"), None).await;
    let pending = next(&mut stream).await;
    let hands = Hands::of(&roles).await;
    let claim = hands.reader().await.claim(1, SOON).await.expect("a ticket").pop().expect("a ticket");
    hands.start(&claim).await;
    assert_eq!(short(&next(&mut stream).await), STARTED);

    come_back_as_at(&mut raw, &before).await;
    cut_all_others(&mut raw).await;
    assert_eq!(next(&mut stream).await, pending, "its start never happened");
    alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    let told = stream.rest().await;
    assert_eq!(told.last().map(|end| (end.event.as_str(), &end.data["status"])), Some(("end", &json!("cancelled"))));
    assert_eq!(short(&told[0]).1, Some(2), "the numbers go on from there");
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn whenever_a_client_comes_it_sees_all_that_follows() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let submission = alice.submit(INSTANT).await;
    let hands = Hands::of(&roles).await;
    let work = async {
        let mut reader = hands.reader().await;
        let mut done = 0;
        while done < 300 {
            for claim in reader.claim(16, SOON).await.expect("tickets") {
                hands.complete(&hands.start(&claim).await, claim.job).await;
                done += 1;
            }
        }
    };
    let look = async |n: usize| {
        let from = n.is_multiple_of(2).then_some("0");
        let job = alice.enqueue(&submission, json!({})).await;
        let told = alice.stream(&format!("/jobs/{job}/stream"), from).await.rest().await;
        let (end, told) = told.split_last().expect("an end");
        assert_eq!(short(end), END);
        let seqs: Vec<u64> = told.iter().filter_map(|message| short(message).1).collect();
        let first = if from.is_some() { 1 } else { seqs[0] };
        assert_eq!(seqs, (first..=3).collect::<Vec<_>>(), "job {job}");
    };
    let clients = futures::stream::iter(0..300).map(look).buffer_unordered(20).collect::<Vec<_>>();
    tokio::join!(work, clients);
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

/// What a worker does to jobs, without the worker.
struct Hands {
    redis: Redis,
    policy: Policy,
    worker: Consumer,
}

impl Hands {
    async fn of(roles: &Roles) -> Self {
        let policy = roomy();
        let projector = Keyspace::default();
        let redis = Redis::connect(&roles.redis.url(), projector).await.expect("Redis");
        Self { redis, policy, worker: "hands-1".parse().expect("a name") }
    }

    async fn reader(&self) -> Box<dyn TicketReader> {
        let classes = std::slice::from_ref(&self.policy.default_class);
        self.redis.reader(&self.worker, classes).await.expect("a reader")
    }

    async fn start(&self, claim: &Claim) -> Fence {
        let (fence, ticket, worker) = (SystemIds.fence(), claim.ticket.clone(), self.worker.clone());
        let start = Start {
            fence: fence.clone(),
            ticket,
            worker,
            gpus: vec![],
            sandbox: "off".to_owned(),
            tracking: Tracking::Off,
        };
        self.command(claim.job, JobCommand::Start(start)).await;
        fence
    }

    async fn complete(&self, fence: &Fence, job: JobId) {
        let (results, artifacts) = Default::default();
        self.command(job, JobCommand::Complete { fence: fence.clone(), results, artifacts, tracked: None }).await;
    }

    async fn command(&self, job: JobId, command: JobCommand) {
        let origin = Origin { actor: Actor::System("test".to_owned()), trace: None };
        execute::job(&self.redis, &self.policy, &origin, job, &command, 1.0).await.expect("accepted");
    }
}

/// How many connections Redis has, and how many of them wait for entries of the log.
async fn connections(raw: &mut MultiplexedConnection) -> (usize, usize) {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(raw).await.expect("the clients");
    (list.lines().count(), list.lines().filter(|line| line.contains(" cmd=xread ")).count())
}

#[tokio::test]
async fn fifty_streams_cost_redis_one_connection() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let mut raw = roles.redis.connection().await;
    let jobs = [alice.run(INSTANT).await, alice.run(INSTANT).await];
    let (before, _) = connections(&mut raw).await;
    let mut streams = Vec::new();
    for n in 0..50 {
        let mut stream = alice.stream(&format!("/jobs/{}/stream", jobs[n % 2]), None).await;
        next(&mut stream).await;
        streams.push(stream);
    }
    assert_eq!(connections(&mut raw).await, (before + 1, 1));
    drop(streams);
    until_equal("nobody reads when nobody listens", SOON, (before, 0), async || connections(&mut raw).await).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up_and_holds_up_nobody() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", "30s");
    let loud = format!("print(('x' * 99 + '\\n') * 20_000)\n{INSTANT}");
    let printed = alice.run(&loud).await;
    alice.wait_for(&printed, "completed").await;

    // Answers of two megabytes each, one after another, of which it takes none.
    let address = alice.server().trim_start_matches("http://").to_owned();
    let mut unread = TcpStream::connect(&address).await.expect("a connection");
    let request = format!("GET /jobs/{printed}/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\r\n");
    unread.write_all(request.repeat(50).as_bytes()).await.expect("sent");

    let job = alice.run(INSTANT).await;
    let told = alice.stream(&format!("/jobs/{job}/stream"), Some("0")).await.rest().await;
    assert_eq!(told[1..].iter().map(short).collect::<Vec<_>>(), [STARTED, COMPLETED, END]);
    until("it is given up", Duration::from_mins(1), async || unread.write_all(b"\r\n").await.err()).await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}
