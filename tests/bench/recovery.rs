//! How long it takes until a job goes on whose worker died, and until one is gone that was cancelled.

use std::time::{Duration, Instant};

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::processes::marked;
use leadersboard_tests::roles::Roles;
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use tokio::time::sleep;

use crate::statistics::{median, percentile};

const CANCELS: usize = 100;
const LOOK: Duration = Duration::from_millis(1);

pub(crate) async fn print() {
    println!("\n## Recovery");
    for (lease, rounds) in [("5s", 3), ("30s", 2)] {
        let mut seconds = Vec::new();
        for _ in 0..rounds {
            seconds.push(lost_worker(lease).await);
        }
        println!(
            "from kill -9 of a worker to its job running again, lease {lease:>3}   {:.1} s (median of {rounds})",
            median(&seconds)
        );
    }
    for (what, program) in [("that heeds SIGINT", HEEDS), ("that ignores SIGINT and SIGTERM", IGNORES)] {
        let mut millis = cancels(program).await;
        let (p50, p99) = (percentile(&mut millis, 0.5), percentile(&mut millis, 0.99));
        println!("from cancel to the last process gone, of a job {what}   p50 {p50} ms, p99 {p99} ms ({CANCELS} jobs)");
    }
}

/// With a child of its own, which stays in its group.
const HEEDS: &str = "import subprocess\nchild = subprocess.Popen(['sleep', '300'])\nprint('begun')\nchild.wait()\n";
const IGNORES: &str = "import signal, time\nfor number in (signal.SIGINT, signal.SIGTERM):\n    \
                       signal.signal(number, signal.SIG_IGN)\nprint('begun')\nwhile True: time.sleep(1)\n";

async fn lost_worker(lease: &'static str) -> f64 {
    let mut roles = Roles::new().await;
    roles.lease = lease;
    let (_api, alice) = roles.api();
    let victim = roles.worker("victim", lease);
    let job = alice.run("import time\ntime.sleep(300)\n").await;
    alice.wait_for(&job, "running").await;
    let _other = roles.worker("other", lease);
    sleep(Duration::from_secs(2)).await;
    victim.signal(Signal::SIGKILL);
    let began = Instant::now();
    while alice.get(&format!("/jobs/{job}")).await.body["attempt"] != 2 {
        sleep(Duration::from_millis(10)).await;
    }
    began.elapsed().as_secs_f64()
}

async fn cancels(program: &str) -> Vec<u128> {
    let board = Board::start(&[("WORKER_SLOTS", "4")]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(program).await;
    let mut millis = Vec::new();
    for _ in 0..CANCELS {
        let job = alice.enqueue(&submission, json!({})).await;
        // Its own ids are of a namespace of its own.
        let has_printed = async || alice.get(&format!("/jobs/{job}/logs")).await.body["logs"] == "begun\n";
        while !has_printed().await {
            sleep(Duration::from_millis(5)).await;
        }
        let pids = marked(&job);
        let began = Instant::now();
        alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
        while pids.iter().any(|pid| kill(*pid, None).is_ok()) {
            sleep(LOOK).await;
        }
        millis.push(began.elapsed().as_millis());
    }
    millis
}
