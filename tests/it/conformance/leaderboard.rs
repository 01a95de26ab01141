//! The leaderboard's port against a model that knows all jobs and sorts them.

use std::collections::BTreeMap;

use adapters::redis::audit::Mode;
use events::ports::{Board, BoardQuery, Boards, EventLogPort, LeaderboardPort};
use events::ranking::MAX_RANKED;
use events::time::from_unix_micros;
use events::{JobCommand, JobId, Order, Results, Standing, Timestamp};
use leadersboard_tests::finished::finished;
use leadersboard_tests::invariants::Expect;
use leadersboard_tests::redis_server::dump;
use projections::Keyspace;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::Bench;

const METRICS: [&str; 3] = ["auc", "latency ms", "top@1:é"];
const USERS: [&str; 4] = ["alice", "bob", "zoë", "of%3A"];

/// How many stories are tried.
const STORIES: usize = 12;

/// One thing that happens to a board.
#[derive(Debug, Clone)]
enum Step {
    Complete { user: usize, second: i64, values: [Option<i8>; 3], dataset: bool },
    Expire(usize),
}

#[derive(Debug, Clone)]
struct Done {
    id: JobId,
    user: String,
    at: Timestamp,
    results: Results,
}

/// All jobs that completed.
#[derive(Debug, Default)]
struct Jobs {
    kept: Vec<Done>,
    /// Those that have expired.
    gone: Vec<Done>,
}

fn step() -> impl Strategy<Value = Step> {
    let value = || prop::option::weighted(0.8, -2_i8..=2);
    let complete = (0..USERS.len(), 0_i64..6, [value(), value(), value()], any::<bool>())
        .prop_map(|(user, second, values, dataset)| Step::Complete { user, second, values, dataset });
    prop_oneof![3 => complete, 1 => (0_usize..100).prop_map(Step::Expire)]
}

fn at(second: i64) -> Timestamp {
    from_unix_micros((1_800_000_000 + second) * 1_000_000)
}

async fn complete(bench: &Bench, user: &str, at: Timestamp, results: Results) -> JobId {
    let (id, commit) = finished(user, bench.submission, at, results);
    bench.redis.commit(commit).await.expect("committed");
    id
}

fn results(metrics: &[(&str, f64)], dataset: &str) -> Results {
    let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let params = json!({ "dataset": dataset, "seed": 7, "amp": true }).as_object().expect("an object").clone();
    Results { params, metrics, ..Results::default() }
}

fn query(metric: &str, order: Order) -> BoardQuery {
    BoardQuery { metric: metric.to_owned(), order, user: None, since: None, params: vec![], limit: 1_000 }
}

/// All jobs that fit, as standings.
fn fitting(jobs: &[Done], query: &BoardQuery) -> Vec<Standing> {
    let fits = |job: &&Done| {
        let has = |(name, value): &(String, String)| {
            let found = job.results.params.get(name);
            found.is_some_and(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned) == *value)
        };
        query.since.is_none_or(|since| job.at >= since) && query.params.iter().all(has)
    };
    let standing = |job: &Done| {
        let value = *job.results.metrics.get(&query.metric)?;
        Some(Standing { user: job.user.parse().expect("a name"), value, completed_at: job.at, job: job.id })
    };
    jobs.iter().filter(fits).filter_map(standing).collect()
}

fn expected_leaders(jobs: &[Done], query: &BoardQuery) -> Vec<(u64, Standing)> {
    let mut best: BTreeMap<String, Standing> = BTreeMap::new();
    for standing in fitting(jobs, query) {
        let other = best.entry(standing.user.to_string()).or_insert_with(|| standing.clone());
        if query.order.compare(&standing, other).is_lt() {
            *other = standing;
        }
    }
    let mut best: Vec<Standing> = best.into_values().collect();
    best.sort_by(|one, other| query.order.compare(one, other));
    let ranked = (1..).zip(best);
    match &query.user {
        Some(user) => ranked.filter(|(_, standing)| standing.user == *user).collect(),
        None => ranked.take(query.limit).collect(),
    }
}

fn expected_records(jobs: &Jobs, query: &BoardQuery) -> Vec<Standing> {
    let of_all_time = BoardQuery { since: None, ..query.clone() };
    let mut all = fitting(&jobs.kept, &of_all_time);
    // Nobody knows the params of what is gone.
    if query.params.is_empty() {
        all.extend(fitting(&jobs.gone, &of_all_time));
    }
    all.sort_by_key(|standing| (standing.completed_at, standing.job));
    let mut records: Vec<Standing> = vec![];
    for standing in all {
        if records.last().is_none_or(|last| query.order.is_better(standing.value, last.value)) {
            records.push(standing);
        }
    }
    records.retain(|record| {
        query.since.is_none_or(|since| record.completed_at >= since)
            && query.user.as_ref().is_none_or(|user| record.user == *user)
    });
    records.split_off(records.len().saturating_sub(query.limit))
}

async fn assert_as_expected(bench: &Bench, jobs: &Jobs) {
    let board: &dyn LeaderboardPort = &bench.redis;
    for metric in METRICS.into_iter().chain(["unknown"]) {
        for order in [Order::Asc, Order::Desc] {
            let plain = query(metric, order);
            let params = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
            let queries = [
                plain.clone(),
                BoardQuery { limit: 1, ..plain.clone() },
                BoardQuery { limit: 2, ..plain.clone() },
                BoardQuery { user: Some("bob".parse().expect("a name")), ..plain.clone() },
                BoardQuery { since: Some(at(3)), ..plain.clone() },
                BoardQuery { params: params("dataset", "mvtec"), limit: 2, ..plain.clone() },
                BoardQuery { params: params("seed", "8"), ..plain.clone() },
                BoardQuery {
                    user: Some("zoë".parse().expect("a name")),
                    since: Some(at(2)),
                    params: [params("dataset", "mvtec"), params("amp", "true")].concat(),
                    ..plain
                },
            ];
            for query in queries {
                let leaders = board.leaders(&query).await.expect("leaders").leaders;
                let found: Vec<_> = leaders.iter().map(|leader| (leader.rank, leader.standing.clone())).collect();
                assert_eq!(found, expected_leaders(&jobs.kept, &query), "{query:?}");
                for leader in leaders {
                    assert_eq!(leader.job.id, leader.standing.job);
                    assert_eq!(leader.job.ranked().and_then(|ranked| ranked.get(metric)), Some(&leader.standing.value));
                }
                let records = board.records(&query).await.expect("records");
                assert_eq!(records, expected_records(jobs, &query), "{query:?}");
            }
        }
    }
    let users = |metric: &str| {
        let mut users: Vec<&str> = jobs
            .kept
            .iter()
            .filter(|job| job.results.metrics.contains_key(metric))
            .map(|job| job.user.as_str())
            .collect();
        users.sort_unstable();
        users.dedup();
        users.len() as u64
    };
    let boards = METRICS.map(|metric| Board { metric: metric.to_owned(), users: users(metric) });
    let mut boards: Vec<Board> = boards.into_iter().filter(|board| board.users > 0).collect();
    boards.sort_by_key(|board| std::cmp::Reverse(board.users));
    let total = boards.len() as u64;
    assert_eq!(board.boards(10).await, Ok(Boards { boards: boards.clone(), total }));
    boards.truncate(1);
    assert_eq!(board.boards(1).await, Ok(Boards { boards, total }));
}

#[tokio::test]
async fn every_query_is_answered_as_by_sorting_all_jobs_whatever_completes_and_expires() {
    let stories = prop::collection::vec(step(), 0..30);
    let mut runner = TestRunner::deterministic();
    for _ in 0..STORIES {
        let story = stories.new_tree(&mut runner).expect("a story").current();
        let bench = Bench::new().await;
        let mut jobs = Jobs::default();
        for step in story {
            match step {
                Step::Complete { user, second, values, dataset } => {
                    let metrics: Vec<(&str, f64)> = METRICS
                        .into_iter()
                        .zip(values)
                        .filter_map(|(name, value)| Some((name, f64::from(value?) / 8.0)))
                        .collect();
                    let results = results(&metrics, if dataset { "mvtec" } else { "visa" });
                    let (user, at) = (USERS[user].to_owned(), at(second));
                    let id = complete(&bench, &user, at, results.clone()).await;
                    jobs.kept.push(Done { id, user, at, results });
                }
                Step::Expire(number) if !jobs.kept.is_empty() => {
                    let gone = jobs.kept.remove(number % jobs.kept.len());
                    bench.command(gone.id, &JobCommand::Expire).await.expect("expired");
                    jobs.gone.push(gone);
                }
                Step::Expire(_) => {}
            }
        }
        assert_as_expected(&bench, &jobs).await;
        assert_rebuilt_to_the_byte(&bench).await;
        assert_as_expected(&bench, &jobs).await;
        bench.check(Expect::AllEnded).await;
    }
}

#[tokio::test]
async fn a_page_of_many_users_is_the_same_however_much_of_the_board_is_looked_at() {
    let bench = Bench::new().await;
    let mut jobs = Jobs::default();
    for number in 0..420_u32 {
        // As good as random, with ties, and the same each time.
        let value = f64::from(number * 7_919 % 97) / 8.0;
        let results = results(&[("auc", value)], ["mvtec", "visa", "other"][(number * 31 % 7 % 3) as usize]);
        let (user, at) = (format!("user{}", number % 140), at(i64::from(number * 13 % 400)));
        let id = complete(&bench, &user, at, results.clone()).await;
        jobs.kept.push(Done { id, user, at, results });
    }
    let board: &dyn LeaderboardPort = &bench.redis;
    let mvtec = vec![("dataset".to_owned(), "mvtec".to_owned())];
    for order in [Order::Asc, Order::Desc] {
        for limit in [1, 3, 49, 50, 51, 139, 1_000] {
            for (since, params) in
                [(None, vec![]), (Some(at(200)), vec![]), (None, mvtec.clone()), (Some(at(390)), mvtec.clone())]
            {
                for user in [None, Some("user7"), Some("user99")] {
                    let user = user.map(|name| name.parse().expect("a name"));
                    let query = BoardQuery { limit, since, params: params.clone(), user, ..query("auc", order) };
                    let leaders = board.leaders(&query).await.expect("leaders").leaders;
                    let found: Vec<_> = leaders.into_iter().map(|leader| (leader.rank, leader.standing)).collect();
                    assert_eq!(found, expected_leaders(&jobs.kept, &query), "{query:?}");
                    assert_eq!(board.records(&query).await, Ok(expected_records(&jobs, &query)), "{query:?}");
                }
            }
        }
    }
    bench.check(Expect::AllEnded).await;
}

/// All boards are dropped, others are made up, and they come back from the log as they were, to the byte.
async fn assert_rebuilt_to_the_byte(bench: &Bench) {
    let mut raw = bench.raw().await;
    let boards = |dump: Vec<(String, Vec<u8>, i64)>| {
        let of_boards = |key: &str| key.contains(":board:") || key.ends_with(":boards");
        let of_boards = dump.into_iter().filter(|(key, ..)| of_boards(key));
        of_boards.map(|(key, bytes, expiry)| (key, (bytes, expiry))).collect::<BTreeMap<_, _>>()
    };
    let before = boards(dump(&mut raw).await);
    for key in before.keys() {
        let _: i64 = redis::cmd("DEL").arg(key).query_async(&mut raw).await.expect("deleted");
    }
    let made_up = "00066517289880c0-0192f1c3a4b57c6d8e9fa0b1c2d3e4f6-alice";
    for metric in ["auc", "made up"] {
        let key = Keyspace::default().records(metric, Order::Desc);
        let _: i64 = redis::cmd("ZADD").arg(&[&key, "7", made_up]).query_async(&mut raw).await.expect("added");
    }
    let text = Keyspace::default().records("latency ms", Order::Asc);
    let _: String = redis::cmd("SET").arg(&[&text, "a text"]).query_async(&mut raw).await.expect("set");
    let found = bench.redis.audit(Mode::Verify, |_| {}).await.expect("a comparison");
    assert!(found.differences >= 3, "{found:?}");
    bench.redis.audit(Mode::Rebuild, |_| {}).await.expect("a rebuild");
    assert_eq!(boards(dump(&mut raw).await), before);
}

#[tokio::test]
async fn values_are_ranked_to_the_last_bit() {
    let bench = Bench::new().await;
    let board: &dyn LeaderboardPort = &bench.redis;
    let values = [f64::MAX, 1.0 + f64::EPSILON, 1.0, 0.1, 1e-308, 5e-324, 0.0, -5e-324, -0.1, f64::MIN];
    for (number, value) in values.into_iter().enumerate() {
        complete(&bench, &format!("user{number}"), at(0), results(&[("m", value)], "d")).await;
    }
    // Both zeros are one value: the earlier is first.
    complete(&bench, "negative", at(1), results(&[("m", -0.0)], "d")).await;
    let leaders = board.leaders(&query("m", Order::Desc)).await.expect("leaders").leaders;
    let found: Vec<u64> = leaders.iter().map(|leader| leader.standing.value.to_bits()).collect();
    let wanted = [f64::MAX, 1.0 + f64::EPSILON, 1.0, 0.1, 1e-308, 5e-324, 0.0, 0.0, -5e-324, -0.1, f64::MIN];
    assert_eq!(found, wanted.map(f64::to_bits));
    assert_eq!(leaders[7].standing.user.as_str(), "negative");
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn of_very_many_metrics_a_bounded_number_is_ranked() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..1_500).map(|number| format!("auc/class_{number:04}")).collect();
    let mut metrics: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 0.5)).collect();
    metrics.push(("auc", 0.9));
    let job = complete(&bench, "alice", at(0), results(&metrics, "d")).await;
    let board: &dyn LeaderboardPort = &bench.redis;
    let boards = board.boards(1_000).await.expect("boards");
    assert_eq!((boards.boards.len(), boards.total, boards.boards[0].metric.as_str()), (MAX_RANKED, 64, "auc"));
    bench.check(Expect::AllEnded).await;
    bench.command(job, &JobCommand::Expire).await.expect("expired");
    assert_eq!(board.boards(1_000).await, Ok(Boards { boards: vec![], total: 0 }));
    bench.check(Expect::AllEnded).await;
}
