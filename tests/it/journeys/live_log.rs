//! What a job prints as it prints it, followed by whoever wants to, through whatever cuts the connection.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT};
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::gated;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::sse::{Message, Stream};
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{INSTANT, all_is_well};

/// What is printed, as its messages tell it.
fn text<'a>(messages: impl IntoIterator<Item = &'a Message>) -> String {
    let logs = messages.into_iter().filter(|message| message.event == "log");
    logs.map(|message| message.data["logs"].as_str().expect("a text")).collect()
}

fn kinds(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.event.as_str()).collect()
}

/// Reads on until what was printed since is `wanted`.
async fn read_until(stream: &mut Stream, wanted: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    while text(&messages) != wanted {
        let message = stream.next().await.expect("a message");
        assert_ne!(message.event, "end", "after {messages:?}");
        messages.push(message);
    }
    messages
}

fn path(job: &str) -> String {
    format!("/jobs/{job}/logs/stream")
}

async fn refused(client: &Client, job: &str, last_event_id: &'static str) -> u16 {
    let request = client.request(Method::GET, &path(job));
    client.send(request.header("last-event-id", last_event_id)).await.status
}

async fn ended(roles: &Roles) {
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn lines_arrive_while_the_job_runs_at_every_api_and_then_the_end() {
    let roles = Roles::new().await;
    let (_one, alice) = roles.api();
    // A host that does not even have the logs.
    let elsewhere = roles.data.path().join("elsewhere").display().to_string();
    let (_other, far) = roles.api_with("other", &[("LOG_ROOT", &elsewhere)]);
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let mut streams = [alice.stream(&path(&job), None).await, alice.stream(&path(&job), None).await];
    let mut far = far.stream(&path(&job), None).await;
    assert_eq!(far.header("content-type"), "text/event-stream");
    let _worker = roles.worker("one", "30s");
    for stream in streams.iter_mut().chain([&mut far]) {
        let told = read_until(stream, "begun\n").await;
        assert_eq!(
            (told[0].event.as_str(), told[0].id.as_deref(), &told[0].data),
            ("attempt", Some("1:0"), &json!({ "attempt": 1, "offset": 0 }))
        );
        let last = told.last().expect("a message");
        assert_eq!(
            (last.event.as_str(), last.id.as_deref(), &last.data["next_offset"]),
            ("log", Some("1:6"), &json!(6))
        );
    }
    std::fs::write(&gate, "").expect("the gate");
    for stream in streams {
        let rest = stream.rest().await;
        assert_eq!(text(&rest), "hello from the job\n");
        let end = rest.last().expect("an end");
        assert_eq!((end.event.as_str(), &end.id, &end.data["status"]), ("end", &None, &json!("completed")));
    }
    assert_eq!(far.rest().await.last().expect("an end").event, "end");
    ended(&roles).await;
}

/// Prints many lines, some in one go, and stops amid characters and lines.
const TALKATIVE: &str = r#"
import sys, time
out = sys.stdout.buffer
for n in range(300):
    out.write(f"line {n} ✓\n".encode()); out.flush()
    if n % 50 == 0: time.sleep(0.02)
for byte in "cut ✓ cut\n".encode():
    out.write(bytes([byte])); out.flush()
    time.sleep(0.03)
out.write(b"no newline at the end"); out.flush()
"#;

#[tokio::test]
async fn whoever_comes_back_misses_nothing_and_reads_nothing_twice() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("{TALKATIVE}{INSTANT}")).await;
    let live = alice.stream(&path(&job), None).await.rest().await;
    let whole = text(&live);
    let lines: Vec<String> = (0..300).map(|n| format!("line {n} ✓\n")).collect();
    let lines = lines.concat();
    assert_eq!(whole, format!("{lines}cut ✓ cut\nno newline at the endhello from the job\n"));
    for read in 1..live.len() {
        let again = alice.stream(&path(&job), live[read - 1].id.as_deref()).await.rest().await;
        assert_eq!(text(&again), text(&live[read..]), "after {read} messages");
        assert_eq!(again.last(), live.last());
        assert!(again.iter().all(|message| message.event != "attempt"), "it knows the attempt");
    }

    let tail = alice.get(&format!("/jobs/{job}/logs?tail_lines=3")).await.body;
    let from = async |id, query: &str| alice.stream(&format!("{}{query}", path(&job)), id).await.rest().await;
    let last = from(None, "?tail_lines=3").await;
    assert_eq!(
        (kinds(&last), text(&last).as_str()),
        (vec!["attempt", "log", "end"], tail["logs"].as_str().expect("a text"))
    );
    assert_eq!(last[1].data["offset"], tail["offset"]);
    assert_eq!(text(&from(Some("1:0"), "?tail_lines=3").await), whole, "a client that comes back keeps its query");
    assert_eq!(kinds(&from(Some("0:0"), "").await)[0], "attempt", "from before the first attempt");
    for never in ["7:7", "1:99999999"] {
        let told = from(Some(never), "").await;
        assert_eq!(
            (kinds(&told)[0], text(&told).as_str()),
            ("attempt", whole.as_str()),
            "{never}: the job never had it"
        );
    }
    let behind = alice.get(&format!("/jobs/{job}/logs?attempt=1&offset=99999999")).await.body;
    assert_eq!((&behind["offset"], &behind["next_offset"]), (&tail["next_offset"], &tail["next_offset"]));
    for bad in ["1", "one:two", "1:-1", "1:9223372036854775808"] {
        assert_eq!(refused(&alice, &job, bad).await, 400, "{bad}");
    }
    let (bob, root) = (Client::new(board.server(), BOB), Client::new(board.server(), ROOT));
    assert_eq!(refused(&bob, &job, "1:0").await, 404);
    assert_eq!(bob.get(&path(&job)).await.status, 404);
    assert_eq!(alice.get(&path("0192f1c3a4b57c6d8e9fa0b1c2d3e4f5")).await.status, 404);
    assert_eq!(text(&root.stream(&path(&job), None).await.rest().await), whole);
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_new_attempt_says_so_and_begins_at_0() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let lost = roles.worker("lost", "1s");
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let mut stream = alice.stream(&path(&job), None).await;
    read_until(&mut stream, "begun\n").await;
    lost.signal(Signal::SIGKILL);
    let _other = roles.worker("other", "1s");
    std::fs::write(&gate, "").expect("the gate");
    let rest = stream.rest().await;
    let (again, printed) = (&rest[0], text(&rest[1..]));
    assert_eq!((again.event.as_str(), again.id.as_deref()), ("attempt", Some("2:0")));
    assert_eq!(printed, "begun\nhello from the job\n");
    assert_eq!(rest.last().expect("an end").data["status"], "completed");
    assert_eq!(rest[1].data["offset"], 0);

    let all = alice.stream(&path(&job), Some("0:0")).await.rest().await;
    let attempts: Vec<_> =
        all.iter().filter_map(|message| message.id.as_deref()).filter(|id| id.ends_with(":0")).collect();
    assert_eq!(attempts, ["1:0", "2:0"]);
    assert_eq!(text(&all), "begun\nbegun\nhello from the job\n");
    ended(&roles).await;
}

#[tokio::test]
async fn the_last_lines_come_before_the_end_however_fast_a_job_is() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let mut workers = roles.worker_command("many", "30s");
    workers.env("WORKER_SLOTS", "4");
    let _worker = leadersboard_tests::board::Process::spawn(workers);
    let submission = alice.submit(&format!("{INSTANT}\nprint('last words')\n")).await;
    let follow = async |_| {
        let job = alice.enqueue(&submission, json!({})).await;
        let told = alice.stream(&path(&job), None).await.rest().await;
        assert_eq!(text(&told), "hello from the job\nlast words\n", "{told:?}");
        assert_eq!(told.last().expect("an end").data["status"], "completed");
    };
    futures::future::join_all((0..60).map(follow)).await;
    ended(&roles).await;
}

#[tokio::test]
async fn a_job_that_never_ran_ends_its_stream() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let job = alice.run(INSTANT).await;
    let stream = alice.stream(&path(&job), None).await;
    alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    let told = stream.rest().await;
    assert_eq!(kinds(&told), ["end"]);
    assert_eq!(told[0].data["status"], "cancelled");
    ended(&roles).await;
}

#[tokio::test]
async fn a_live_log_that_is_lost_costs_nothing_but_time() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", "30s");
    let gate = roles.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    let mut stream = alice.stream(&path(&job), None).await;
    read_until(&mut stream, "begun\n").await;
    let mut raw = roles.redis.connection().await;
    let pattern = Keyspace::default().pattern().replace('*', "log:*");
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut raw).await.expect("keys");
    assert_eq!(keys.len(), 1);
    // It is no stream any more, so that nothing can be shown.
    let mut spoil = redis::pipe();
    spoil.atomic().cmd("SET").arg(&keys[0]).arg("spoiled").arg("EX").arg(600);
    let () = spoil.query_async(&mut raw).await.expect("spoiled");
    std::fs::write(&gate, "").expect("the gate");
    let rest = stream.rest().await;
    assert_eq!((text(&rest).as_str(), rest.last().expect("an end").event.as_str()), ("hello from the job\n", "end"));
    ended(&roles).await;
}

#[tokio::test]
async fn a_progress_bar_is_one_line_in_the_end() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let bar = "import sys, time\nfor n in range(101):\n    sys.stdout.write(f'\\r{n:3}%|' + '#' * (n // 2))\n    \
               sys.stdout.flush()\n    time.sleep(0.005)\nprint()\n";
    let job = alice.run(&format!("{bar}{INSTANT}")).await;
    let wanted = format!("100%|{}\nhello from the job\n", "#".repeat(50));
    let followed = board.run(["jobs", "logs", &job, "--follow"]);
    assert_eq!((followed.code, followed.stdout.as_str()), (Some(0), wanted.as_str()), "{followed:?}");
    let told = alice.stream(&path(&job), None).await.rest().await;
    assert_eq!(text(&told), wanted, "whoever comes late sees how it came to look");
    assert_eq!(board.run(["jobs", "logs", &job]).stdout, wanted);
    let logs = async |query: &str| {
        let body = alice.get(&format!("/jobs/{job}/logs{query}")).await.body;
        body["logs"].as_str().expect("a text").to_owned()
    };
    for query in ["", "?tail_lines=2", "?tail_lines=9", "?offset=0"] {
        assert_eq!(logs(query).await, wanted, "{query}");
    }
    assert_eq!(logs("?tail_lines=1").await, "hello from the job\n");
    for query in ["?raw=true", "?raw=true&tail_lines=2", "?raw=true&offset=0"] {
        assert!(logs(query).await.contains("\r 50%|"), "{query}");
    }
    assert!(board.run(["jobs", "logs", &job, "--raw"]).stdout.contains("\r 50%|"));
    assert!(board.run(["jobs", "logs", &job, "--raw", "--follow"]).stdout.contains("\r 50%|"));
    all_is_well(&board).await;
}

/// Two bars, the inner one below the outer, as tqdm prints them, and what would drive a terminal.
const NESTED: &str = r#"
import sys
out = sys.stdout
out.write("\x1b]0;title\x07\x1b[?1049h\x1b[31mred\x1b[0m\u202e\n")
out.write("\r  0%|outer")
for epoch in range(1, 4):
    for batch in range(1, 101):
        out.write(f"\n\r{batch:3}%|inner\x1b[A"); out.flush()
    out.write(f"\r{epoch}00%|outer")
out.write("\n\n"); out.flush()
"#;

#[tokio::test]
async fn nested_bars_are_a_line_each_and_nothing_drives_a_terminal() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("{NESTED}{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
    let wanted = "\x1b[31mred\x1b[0m\n300%|outer\n100%|inner\nhello from the job\n";
    let body = alice.get(&format!("/jobs/{job}/logs")).await.body;
    assert_eq!((&body["logs"], &body["truncated"]), (&json!(wanted), &json!(false)));
    assert_eq!(text(&alice.stream(&path(&job), None).await.rest().await), wanted);
    let tail = alice.get(&format!("/jobs/{job}/logs?tail_lines=3")).await.body;
    assert_eq!(tail["logs"], "300%|outer\n100%|inner\nhello from the job\n");

    let plain = "red\n300%|outer\n100%|inner\nhello from the job\n";
    assert_eq!(board.run(["jobs", "logs", &job]).stdout, plain, "no colours for a pipe");
    assert_eq!(on_terminal(&board, &["jobs", "logs", &job]), wanted.replace('\n', "\r\n"));
    assert!(on_terminal(&board, &["jobs", "logs", &job, "--raw"]).contains("\x1b]0;title\x07"));
    let watched = on_terminal(&board, &["jobs", "watch", &job]);
    assert!(watched.contains("\x1b[31mred\x1b[0m\r\n") && !watched.contains("title"), "{watched:?}");
    all_is_well(&board).await;
}

/// What a command writes to a terminal.
fn on_terminal(board: &Board, arguments: &[&str]) -> String {
    let line = format!("{} {}", leadersboard_tests::board::binary().display(), arguments.join(" "));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null());
    script.env("LEADERSBOARD_URL", board.server()).env("LEADERSBOARD_TOKEN", ALICE).env("DATA_DIR", board.data());
    String::from_utf8(script.output().expect("script runs").stdout).expect("UTF-8")
}

#[tokio::test]
async fn a_place_behind_the_end_of_a_running_jobs_log_is_answered_with_all_of_it() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    read_until(&mut alice.stream(&path(&job), None).await, "begun\n").await;
    let mut stream = alice.stream(&path(&job), Some("1:999999")).await;
    let told = read_until(&mut stream, "begun\n").await;
    assert_eq!((kinds(&told)[0], told[0].id.as_deref()), ("attempt", Some("1:0")));
    std::fs::write(&gate, "").expect("the gate");
    assert_eq!(text(&stream.rest().await), "hello from the job\n");
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_line_without_end_comes_in_messages_of_bounded_size() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("print('x' * 1_000_000 + '\\0y')\n{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
    let told = alice.stream(&path(&job), None).await.rest().await;
    assert_eq!(text(&told), format!("{}y\nhello from the job\n", "x".repeat(1_000_000)));
    let longest = told.iter().filter_map(|message| message.data["logs"].as_str().map(str::len)).max();
    assert!(longest <= Some(64 << 10), "{longest:?}");
    all_is_well(&board).await;
}

fn rss_kib(pid: nix::unistd::Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test]
async fn clients_that_read_nothing_cost_no_memory_and_hold_up_nobody() {
    let roles = Roles::new().await;
    let (api, alice) = roles.api();
    let _worker = roles.worker("one", "30s");
    let gate = roles.gate("gate");
    let loud = format!("for _ in range(100): print(('x' * 99 + '\\n') * 2_000, end='', flush=True)\n{}", gated(&gate));
    let job = alice.run(&loud).await;
    alice.wait_for(&job, "running").await;
    let address = alice.server().trim_start_matches("http://").to_owned();
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(&address).await.expect("a connection");
        let request = format!("GET {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ALICE}\r\n\r\n", path(&job));
        client.write_all(request.as_bytes()).await.expect("sent");
        unread.push(client);
    }
    let mut stream = alice.stream(&path(&job), None).await;
    let mut bytes = 0;
    while bytes < 20_000_000 {
        bytes += stream.next().await.expect("a message").data["logs"].as_str().map_or(0, str::len);
    }
    // Were it kept for each, it would be 400 MB.
    assert!(rss_kib(api.pid()) < 150_000, "{} KiB", rss_kib(api.pid()));
    std::fs::write(&gate, "").expect("the gate");
    let rest = stream.rest().await;
    assert!(text(&rest).ends_with("hello from the job\n"));
    for mut client in unread {
        until("it is given up", Duration::from_mins(2), async || client.write_all(b"\r\n").await.err()).await;
    }
    ended(&roles).await;
}
