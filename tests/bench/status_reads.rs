//! `GET /jobs/{id}/status` beside the least that could answer it: a bare axum handler with one HGETALL.

use std::collections::HashMap;
use std::process::Command;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::net::TcpListener;

use crate::statistics::median;

const ROUNDS: usize = 5;
const CONNECTIONS: [usize; 3] = [1, 32, 256];

pub(crate) async fn print() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit("print(1)\n").await;
    let job = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&job, "failed").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/jobs/{id}/status", get(bare)).with_state(board.redis().await);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let ours = format!("{}/jobs/{job}/status", board.server());
    let theirs = format!("http://{address}/jobs/{job}/status");
    for connections in CONNECTIONS {
        compare(&ours, &theirs, connections).await;
    }
}

async fn compare(ours: &str, theirs: &str, connections: usize) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(wrk(ours, connections).await);
        b.push(wrk(theirs, connections).await);
    }
    println!("\n## GET /jobs/{{id}}/status, wrk -t1 -c{connections}, median of {ROUNDS} rounds of 3 s, in turn");
    let show = |name: &str, runs: &[(f64, f64)]| {
        let (rate, p99): (Vec<f64>, Vec<f64>) = runs.iter().copied().unzip();
        println!("{name:<38} {:>8.0} requests/s   p99 {:>6.2} ms", median(&rate), median(&p99));
        median(&rate)
    };
    let (ours, bare) = (show("leadersboard (token, parse, metrics)", &a), show("bare axum handler, one HGETALL", &b));
    println!("ratio                                  {:>8.2}", ours / bare);
}

async fn bare(State(mut redis): State<MultiplexedConnection>, Path(id): Path<String>) -> impl IntoResponse {
    let key = format!("{{leaderboard:main}}:job:{id}");
    let hash: HashMap<String, String> =
        redis::cmd("HGETALL").arg(key).query_async(&mut redis).await.unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], serde_json::to_string(&hash).unwrap_or_default())
}

/// Requests a second, and the 99th percentile in milliseconds.
async fn wrk(url: &str, connections: usize) -> (f64, f64) {
    let mut wrk = Command::new("wrk");
    let (connections, token) = (format!("-c{connections}"), format!("Authorization: Bearer {ALICE}"));
    wrk.args(["-t1", &connections, "-d3s", "--latency", "-H", &token, url]);
    let output = tokio::task::spawn_blocking(move || wrk.output()).await.expect("a thread").expect("wrk is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let after =
        |label: &str| text.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or("").trim().to_owned();
    (after("Requests/sec:").parse().unwrap_or(f64::NAN), milliseconds(&after("99%")))
}

fn milliseconds(text: &str) -> f64 {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let parse = |(unit, factor): &(&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor);
    units.iter().find_map(parse).unwrap_or(f64::NAN)
}
