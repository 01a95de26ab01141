//! What it costs that a job is confined: time, memory, and the end of a large tree.

use std::time::{Duration, Instant};

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::processes::marked;
use leadersboard_tests::programs::INSTANT;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::footprint::rss_mib;
use crate::statistics::percentile;

const JOBS: usize = 100;
const TREE: usize = 1_000;
const SLOTS: usize = 16;
const LOOK: Duration = Duration::from_millis(1);

pub(crate) async fn print() {
    println!("\n## Sandbox");
    let mut bare: Vec<u128> = (0..JOBS).map(|_| bare()).collect();
    let (p50, p99) = (percentile(&mut bare, 0.5), percentile(&mut bare, 0.99));
    println!("bare python main.py, from spawn to its end   p50 {} ms, p99 {} ms", ms(p50), ms(p99));
    for (name, options) in [
        ("plain", &[("SANDBOX", "off")][..]),
        ("floor", &[("LEADERSBOARD_SANDBOX_FLOOR", "true")][..]),
        ("full", &[("SANDBOX", "standard")][..]),
    ] {
        overhead(name, options, p50, p99).await;
    }
    memory().await;
    for (what, ending) in [("that ends by itself", Ending::Own), ("that is cancelled", Ending::Cancel)] {
        teardown(what, ending).await;
    }
}

/// A job's time from its start to its end in the log, over that of the bare program.
async fn overhead(name: &str, options: &[(&str, &str)], bare_p50: u128, bare_p99: u128) {
    let board = Board::start(options).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(INSTANT).await;
    let (mut micros, mut sandbox) = (Vec::new(), Value::Null);
    for _ in 0..JOBS {
        let job = alice.enqueue(&submission, json!({})).await;
        alice.wait_for(&job, "completed").await;
        let story = alice.get(&format!("/jobs/{job}/events")).await.body;
        let event = |kind: &str| {
            let events = story["events"].as_array().expect("events").iter();
            events.clone().find(|event| event["type"] == kind).expect("it has begun and ended").clone()
        };
        let at = |event: &Value| {
            let at = event["at"].as_str().expect("a time");
            chrono::DateTime::parse_from_rfc3339(at).expect("a time").timestamp_micros()
        };
        let (started, completed) = (event("job.started"), event("job.completed"));
        micros.push(u128::from((at(&completed) - at(&started)).unsigned_abs()));
        sandbox = started["data"]["sandbox"].clone();
    }
    let (p50, p99) = (percentile(&mut micros, 0.5), percentile(&mut micros, 0.99));
    let over = |with: u128, without: u128| ms(with.saturating_sub(without));
    println!(
        "job, {name:<6} p50 {} ms (+{}), p99 {} ms (+{}) over {JOBS} jobs: {sandbox}",
        ms(p50),
        over(p50, bare_p50),
        ms(p99),
        over(p99, bare_p99)
    );
}

#[expect(clippy::disallowed_methods, reason = "the interpreter is for whoever starts the benchmarks to say")]
fn bare() -> u128 {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("main.py"), INSTANT).expect("the program");
    let python = std::env::var("JOB_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = std::process::Command::new(python);
    command.args(["main.py", "--config", "config.yaml", "--output", "."]).current_dir(folder.path());
    let began = Instant::now();
    command.output().expect("python runs");
    began.elapsed().as_micros()
}

async fn memory() {
    let board = Board::start(&[("WORKER_SLOTS", "16"), ("MAX_CONCURRENT_RUNNING", "100")]).await;
    let idle = rss_mib(board.pid().as_raw());
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit("import time\nprint('begun')\ntime.sleep(300)\n").await;
    let mut jobs = Vec::new();
    for _ in 0..SLOTS {
        jobs.push(alice.enqueue(&submission, json!({})).await);
    }
    for job in &jobs {
        alice.wait_for(job, "running").await;
    }
    sleep(Duration::from_secs(3)).await;
    println!(
        "resident memory of up: idle {idle:.1} MiB, with {SLOTS} jobs running {:.1} MiB",
        rss_mib(board.pid().as_raw())
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Own,
    Cancel,
}

/// From the end of the program, or the wish for it, to the end of the last of its processes.
async fn teardown(what: &str, ending: Ending) {
    let graces = [("INTERRUPT_GRACE", "0s"), ("TERMINATE_GRACE", "0s")];
    let board = Board::start(&graces).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let program = format!(
        "import os, time\nfor _ in range({TREE}):\n    if os.fork() == 0:\n        time.sleep(300)\nprint('begun')\n\
         while not os.path.exists('{}'): time.sleep(0.001)\n{INSTANT}",
        gate.display()
    );
    let job = alice.run(&program).await;
    while alice.get(&format!("/jobs/{job}/logs")).await.body["logs"] != "begun\n" {
        sleep(Duration::from_millis(20)).await;
    }
    let processes = marked(&job).len();
    let began = Instant::now();
    match ending {
        Ending::Own => std::fs::write(&gate, "").expect("the gate"),
        Ending::Cancel => drop(alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await),
    }
    while alice.get(&format!("/jobs/{job}")).await.body["status"] == "running" {
        sleep(LOOK).await;
    }
    let took = began.elapsed().as_micros();
    println!("end of a tree of {processes} processes, of a job {what}: {} ms, {} left", ms(took), marked(&job).len());
}

fn ms(micros: u128) -> String {
    format!("{}.{}", micros / 1_000, micros / 100 % 10)
}
