//! Reading the leaderboard at 100,000 jobs of 1,000 users, and what the boards add to the commit of a job's end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use adapters::redis::Redis;
use events::ports::{EventLogPort, Ids};
use events::time::from_unix_micros;
use events::{Results, SubmissionId};
use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::finished::finished;
use projections::Keyspace;
use serde_json::json;
use tokio::task::JoinSet;

use crate::statistics::percentile;

const JOBS: usize = 100_000;
const USERS: usize = 1_000;
const IN_FLIGHT: usize = 256;
const READS: usize = 300;

pub(crate) async fn print() {
    let board = Board::start(&[("LEADERBOARD_METRICS", "auc:desc")]).await;
    let redis = Redis::connect(&board.redis_url(), Keyspace::default()).await.expect("Redis");
    println!("\n## Committing jobs that completed, {IN_FLIGHT} in flight, AOF always");
    for (metrics, jobs) in [(0, 5_000), (10, 5_000), (64, 5_000)] {
        let before = script_time(&board).await;
        let took = fill(&redis, jobs, metrics, "warm").await;
        let each = took.as_secs_f64() * 1e6 / jobs as f64;
        let in_redis = (script_time(&board).await - before) / jobs as f64;
        let rate = jobs as f64 / took.as_secs_f64();
        println!(
            "{metrics:>3} metrics: {rate:>8.0} commits/s, {each:>5.0} µs each, of it {in_redis:>4.0} µs of Redis's time"
        );
    }
    let took = fill(&redis, JOBS, 3, "m").await;
    println!("{JOBS} jobs of {USERS} users with 3 metrics: {:.1} s", took.as_secs_f64());
    let alice = Client::new(board.server(), ALICE);
    println!("\n## GET /leaderboard at {JOBS} jobs of {USERS} users, one request after another");
    println!("{:<52} {:>9} {:>9}", "", "p50 ms", "p99 ms");
    let reads = [
        ("/leaderboard?metric=m0", READS),
        ("/leaderboard?metric=m0&order=asc", READS),
        ("/leaderboard?metric=m0&limit=1000", READS / 10),
        ("/leaderboard.csv?metric=m0&limit=1000", READS / 10),
        ("/leaderboard?metric=m0&user=user7", READS / 10),
        ("/leaderboard?metric=m0&since=2027-01-16", READS / 10),
        ("/leaderboard?metric=m0&param.dataset=d3", READS / 10),
        ("/leaderboard?metric=m0&param.dataset=none", 5),
        ("/leaderboard/metrics", READS),
        ("/leaderboard/history?metric=m0", READS / 10),
    ];
    for (path, count) in reads {
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            let answer = alice.get(path).await;
            took.push(began.elapsed());
            assert!(answer.status == 200, "{path}: {answer:?}");
        }
        let ms = |share| percentile(&mut took.clone(), share).as_secs_f64() * 1e3;
        println!("{path:<52} {:>9.2} {:>9.2}", ms(0.5), ms(0.99));
    }
}

/// How long Redis has been in scripts, in microseconds.
async fn script_time(board: &Board) -> f64 {
    let info: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut board.redis().await).await.expect("info");
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap_or_default();
    line.split(',').find_map(|part| part.strip_prefix("usec=")?.parse().ok()).unwrap_or(0.0)
}

/// Commits so many jobs of all users that completed with so many metrics, and tells how long it took.
async fn fill(redis: &Redis, jobs: usize, metrics: usize, prefix: &str) -> Duration {
    let submission: SubmissionId = adapters::ids::SystemIds.submission();
    let began = Instant::now();
    let mut commits = JoinSet::new();
    for number in 0..jobs {
        if commits.len() >= IN_FLIGHT {
            commits.join_next().await.expect("one is under way").expect("committed");
        }
        // As good as random, and the same each time.
        let value = |metric: usize| ((number * 7919 + metric * 104_729) % 1_000_003) as f64 / 1_000_003.0;
        let metrics: BTreeMap<String, f64> =
            (0..metrics).map(|metric| (format!("{prefix}{metric}"), value(metric))).collect();
        let params = json!({ "method": "patchcore", "dataset": format!("d{}", number / USERS % 10) });
        let params = params.as_object().expect("an object").clone();
        let results = Results { params, metrics, ..Results::default() };
        let at = from_unix_micros(1_800_000_000_000_000 + i64::try_from(number).expect("small") * 1_000_000);
        let (_, commit) = finished(&format!("user{}", number * 31 % USERS), submission, at, results);
        let redis = redis.clone();
        commits.spawn(async move { redis.commit(commit).await.map(drop).expect("committed") });
    }
    commits.join_all().await;
    began.elapsed()
}
