//! What a job prints: how soon a client of its stream sees it, how much a worker takes, and the end of a long log.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::sse::Stream;
use serde_json::json;
use tokio::task::JoinSet;

use crate::footprint::rss_mib;
use crate::statistics::percentile;

const JOBS: usize = 100;
const PRINTED_MIB: usize = 200;
const LINES: usize = 100;
const ASKED: usize = 50;

pub(crate) async fn print() {
    println!("\n## GET /jobs/{{id}}/logs/stream, AOF always: from a line printed to the client's parsed message");
    for (jobs, pause) in [(1, "0.07"), (JOBS, "0.9")] {
        let mut delays = delays(jobs, pause).await;
        let ms = |micros: u64| micros as f64 / 1_000.0;
        let (p50, p99) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
        println!("{jobs:>4} jobs, a line each every {pause} s   p50 {:>7.2} ms   p99 {:>7.2} ms", ms(p50), ms(p99));
    }
    println!("programs, worker, API, clients and Redis share the machine; a job's own start is not in it.");
    throughput().await;
    tail().await;
}

/// An API, and a worker with so many slots.
fn roles_of(roles: &Roles, slots: usize) -> (Process, Client, Process) {
    let (api, alice) = roles.api();
    let mut worker = roles.worker_command("bench", "30s");
    worker.env("WORKER_SLOTS", slots.to_string());
    (api, alice, Process::spawn(worker))
}

/// Microseconds from each line's own time to when it was seen.
async fn delays(jobs: usize, pause: &str) -> Vec<u64> {
    let roles = Roles::new().await;
    let (_api, alice, _worker) = roles_of(&roles, jobs);
    let lines = if jobs == 1 { 200 } else { 20 };
    // Begins when all may run, and no two print in step.
    let program = format!(
        "import random, time\ntime.sleep({})\nfor _ in range({lines}):\n    time.sleep({pause} * (0.5 + random.random()))\n    \
         print(repr(time.time()), flush=True)\n",
        if jobs == 1 { 1 } else { 15 }
    );
    let submission = alice.submit(&program).await;
    let mut followers = JoinSet::new();
    for _ in 0..jobs {
        let job = alice.enqueue(&submission, json!({})).await;
        let stream = alice.stream(&format!("/jobs/{job}/logs/stream"), None).await;
        followers.spawn(follow(stream));
    }
    followers.join_all().await.concat()
}

#[expect(clippy::disallowed_methods, reason = "a line carries the wall clock's time, the only one two processes share")]
async fn follow(mut stream: Stream) -> Vec<u64> {
    let mut delays = Vec::new();
    while let Some(message) = stream.next().await {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let printed = message.data["logs"].as_str().unwrap_or_default();
        let times = printed.lines().filter_map(|line| line.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a delay is short and positive")]
        delays.extend(times.map(|time| ((now - time).max(0.0) * 1e6) as u64));
    }
    delays
}

async fn throughput() {
    println!("\n## A job that prints {PRINTED_MIB} MiB as fast as it can");
    for (name, followed) in [("nobody looks on", false), ("one client follows", true)] {
        let roles = Roles::new().await;
        let (_api, alice, worker) = roles_of(&roles, 1);
        let program = format!(
            "import os, time\nline = b'x' * 99 + b'\\n'\nblock = line * 640\nbegan = time.time()\n\
             for _ in range({PRINTED_MIB} * 1024 * 1024 // len(block)): os.write(1, block)\n\
             os.write(2, f'took {{time.time() - began}}\\n'.encode())\n"
        );
        let job = alice.run(&program).await;
        let before = cpu_seconds(&worker);
        let began = Instant::now();
        let seen = if followed {
            let mut stream = alice.stream(&format!("/jobs/{job}/logs/stream"), None).await;
            let mut seen = 0;
            while let Some(message) = stream.next().await {
                seen += message.data["logs"].as_str().map_or(0, str::len);
            }
            format!("{:.0} MiB/s seen", seen as f64 / 1_048_576.0 / began.elapsed().as_secs_f64())
        } else {
            alice.wait_for(&job, "failed").await;
            String::new()
        };
        let last = alice.get(&format!("/jobs/{job}/logs?tail_lines=1")).await.body;
        let took: f64 =
            last["logs"].as_str().and_then(|line| line.trim().strip_prefix("took ")?.parse().ok()).unwrap_or(f64::NAN);
        let used = cpu_seconds(&worker) - before;
        println!(
            "{name:<20} {:>6.0} MiB/s printed   worker's CPU {:.2} s ({:.1} ms a MiB)   {seen}",
            PRINTED_MIB as f64 / took,
            used,
            used * 1e3 / PRINTED_MIB as f64
        );
    }
}

/// How long a process has run on a CPU.
fn cpu_seconds(process: &Process) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // A tick is a hundredth of a second on every Linux that this runs on.
    (ticks(11) + ticks(12)) as f64 / 100.0
}

async fn tail() {
    println!("\n## GET /jobs/{{id}}/logs?tail_lines={LINES} of a log of 1 GiB, {ASKED} times");
    let roles = Roles::new().await;
    let (api, alice, _worker) = roles_of(&roles, 1);
    let job = alice.run("print('begun')\n").await;
    alice.wait_for(&job, "failed").await;
    fill(&roles.data.path().join("logs").join(&job)).expect("a long log");
    let path = format!("/jobs/{job}/logs?tail_lines={LINES}");
    let before = rss_mib(api.pid().as_raw());
    let mut delays = Vec::new();
    for _ in 0..ASKED {
        let began = Instant::now();
        let body = alice.get(&path).await.body;
        delays.push(began.elapsed());
        assert_eq!(body["logs"].as_str().map(|logs| logs.lines().count()), Some(LINES));
    }
    let after = rss_mib(api.pid().as_raw());
    let (p50, p99) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
    println!(
        "p50 {:.2} ms   p99 {:.2} ms   the API's RSS {before:.1} MiB before, {after:.1} MiB after",
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3
    );
}

/// Makes the one log in this folder 1 GiB long.
fn fill(folder: &Path) -> std::io::Result<()> {
    let log = std::fs::read_dir(folder)?.flatten().next().expect("a log").path();
    let mut log = BufWriter::with_capacity(1 << 20, File::options().append(true).open(log)?);
    let line = format!("{}\n", "x".repeat(99));
    for _ in 0..(1 << 30) / line.len() {
        log.write_all(line.as_bytes())?;
    }
    log.flush()
}
