//! What `leadersboard up` costs when nothing happens.

use std::time::{Duration, Instant};

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::processes::children;

use crate::statistics::median;

const ROUNDS: usize = 5;

pub(crate) async fn print() {
    let mut seconds = Vec::new();
    let mut board = None;
    for _ in 0..ROUNDS {
        drop(board.take());
        let began = Instant::now();
        let started = Board::start(&[]).await;
        let client = Client::new(started.server(), ALICE);
        while client.get("/health/ready").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seconds.push(began.elapsed().as_secs_f64());
        board = Some(started);
    }
    let board = board.expect("the last one");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let own = rss_mib(board.pid().as_raw());
    let redis = children(board.pid()).first().map_or(f64::NAN, |redis| rss_mib(redis.as_raw()));
    println!("\n## leadersboard up, idle, empty");
    println!("from spawn to the first 200 of /health/ready   {:.3} s (median of {ROUNDS})", median(&seconds));
    println!("resident memory                                {own:.1} MiB, its Redis {redis:.1} MiB");
}

pub(crate) fn rss_mib(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}
