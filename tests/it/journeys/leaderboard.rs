//! The leaderboard as its users see it: through HTTP and through the commands.

use events::Order;
use leadersboard_tests::board::{ALICE, BOB, Board};
use leadersboard_tests::client::Client;
use projections::Keyspace;
use reqwest::Method;
use serde_json::{Value, json};

use super::all_is_well;

/// A program that completes at once with these results.
fn reaching(results: &Value) -> String {
    format!(
        "import sys\noutput = sys.argv[sys.argv.index('--output') + 1]\n\
         open(output + '/metrics.json', 'w').write({:?})\n",
        results.to_string()
    )
}

async fn complete(client: &Client, results: &Value) -> String {
    let job = client.run(&reaching(results)).await;
    client.wait_for(&job, "completed").await;
    job
}

/// Rank, user and job of each row.
fn places(board: &Value) -> Vec<(u64, &str, &str)> {
    let rows = board["rows"].as_array().unwrap_or_else(|| panic!("no rows in {board}"));
    rows.iter()
        .map(|row| {
            let of = |key: &str| row[key].as_str().expect("a text");
            (row["rank"].as_u64().expect("a rank"), of("user"), of("job_id"))
        })
        .collect()
}

async fn text(client: &Client, path: &str, accept: &str) -> (String, String) {
    let request = client.request(Method::GET, path).header("accept", accept);
    let answer = request.send().await.expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("a type").to_owned();
    (kind, answer.text().await.expect("a body"))
}

#[tokio::test]
async fn the_best_of_each_user_is_ranked_explained_and_exported() {
    let board = Board::start(&[("LEADERBOARD_METRICS", "image_auc:desc,latency_ms:asc")]).await;
    let [alice, bob] = [ALICE, BOB].map(|token| Client::new(board.server(), token));
    let none = alice.get("/leaderboard").await;
    assert_eq!((none.status, &none.body), (200, &json!({ "metric": "image_auc", "order": "desc", "rows": [] })));

    let params = |method: &str, dataset: &str| json!({ "method": method, "dataset": dataset, "seed": 7 });
    let worse = complete(
        &alice,
        &json!({ "params": params("padim", "mvtec_ad"), "metrics": { "image_auc": 0.5, "latency_ms": 3 } }),
    )
    .await;
    let tied = complete(&bob, &json!({ "params": { "model": "=cmd()" }, "metrics": { "image_auc": 0.9 }, "performance": { "energy_j": 12.5 } })).await;
    let better = complete(
        &alice,
        &json!({ "params": params("patchcore", "visa"), "metrics": { "image_auc": 0.9, "latency_ms": 5, "f1": 0.25 } }),
    )
    .await;
    complete(&bob, &json!({ "params": {}, "metrics": { "f1": 0.5 } })).await;
    let failed = alice.run("raise SystemExit(1)\n").await;
    alice.wait_for(&failed, "failed").await;

    // A tie is the earlier's, and a job without the metric, or that failed, does not rank.
    let shown = bob.get("/leaderboard").await.body;
    assert_eq!(places(&shown), [(1, "bob", tied.as_str()), (2, "alice", better.as_str())]);
    let row = &shown["rows"][1];
    assert_eq!((&row["value"], &row["method"], &row["run_id"]), (&json!(0.9), &json!("patchcore"), &Value::Null));
    assert_eq!(row["metrics"], json!({ "image_auc": 0.9, "latency_ms": 5.0, "f1": 0.25 }));
    let job = alice.get(&format!("/jobs/{better}")).await.body;
    assert_eq!((&row["submission_id"], &row["completed_at"]), (&job["submission_id"], &job["finished_at"]));
    assert_eq!(shown["rows"][0]["performance"], json!({ "energy_j": 12.5 }));

    // The order is the setting's, else the query's; filters choose among jobs before the best is.
    let of = async |query: &str| alice.get(&format!("/leaderboard?{query}")).await.body;
    assert_eq!(places(&of("metric=latency_ms").await), [(1, "alice", worse.as_str())]);
    assert_eq!(places(&of("metric=latency_ms&order=desc").await), [(1, "alice", better.as_str())]);
    assert_eq!(places(&of("order=asc").await), [(1, "alice", worse.as_str()), (2, "bob", tied.as_str())]);
    assert_eq!(places(&of("limit=1").await), [(1, "bob", tied.as_str())]);
    assert_eq!(places(&of("user=alice").await), [(2, "alice", better.as_str())]);
    assert_eq!(places(&of("param.dataset=mvtec_ad&param.seed=7").await), [(1, "alice", worse.as_str())]);
    let since = job["finished_at"].as_str().expect("a time");
    assert_eq!(places(&of(&format!("since={since}")).await), [(1, "alice", better.as_str())]);
    assert_eq!(places(&of("metric=nobodys").await), []);

    let metrics = alice.get("/leaderboard/metrics").await.body;
    let metric = |metric: &str, order: &str, users: u64| json!({ "metric": metric, "order": order, "users": users });
    let wanted = [metric("f1", "desc", 2), metric("image_auc", "desc", 2), metric("latency_ms", "asc", 1)];
    assert_eq!(metrics, json!({ "metrics": wanted, "total": 3 }));
    let history = alice.get("/leaderboard/history?metric=image_auc").await.body;
    let records: Vec<_> =
        history["records"].as_array().expect("a list").iter().map(|record| &record["job_id"]).collect();
    assert_eq!(records, [&json!(worse), &json!(tied)]);

    for (query, word) in [
        ("order=up", "order"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("since=soon", "since"),
        ("sinse=2026-01-31", "there is no query parameter \"sinse\"; known:"),
    ] {
        for path in ["/leaderboard", "/leaderboard.csv", "/leaderboard/history"] {
            let refused = alice.get(&format!("{path}?{query}")).await;
            assert_eq!((refused.status, refused.detail().starts_with(word)), (400, true), "{refused:?}");
        }
    }
    let stranger = Client::new(board.server(), "wrong");
    for path in ["/leaderboard", "/leaderboard.csv", "/leaderboard/metrics", "/leaderboard/history"] {
        assert_eq!(stranger.get(path).await.status, 401, "{path}");
    }

    let (kind, csv) = text(&alice, "/leaderboard.csv", "*/*").await;
    assert_eq!(kind, "text/csv; charset=utf-8");
    assert_eq!(text(&alice, "/leaderboard", "text/csv").await, (kind, csv.clone()));
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "rank,user,value,method,job_id,submission_id,completed_at,run_id,mlflow_ui_link,\
         metrics.f1,metrics.image_auc,metrics.latency_ms,performance.energy_j"
    );
    assert!(lines[1].starts_with(&format!("1,bob,0.9,'=cmd(),{tied},")), "{csv}");
    assert!(lines[2].ends_with(",,,0.25,0.9,5.0,"), "{csv}");

    let table = board.run(["board", "--metric", "image_auc"]).stdout;
    assert!(table.contains("IMAGE_AUC") && table.contains("patchcore") && table.contains(&tied), "{table}");
    assert_eq!(board.run(["board", "--json"]).json(), shown);
    assert_eq!(board.run(["board", "--csv"]).stdout.trim_end(), csv.trim_end());
    let own = board.run(["board", "--order", "asc", "--user", "alice", "--param", "seed=7", "--json"]).json();
    assert_eq!(places(&own), [(1, "alice", worse.as_str())]);
    assert!(board.run(["board", "--metrics"]).stdout.contains("latency_ms"));
    assert_eq!(board.run(["board", "--since", "soon"]).code, Some(2));
    assert_eq!(board.run(["board", "--csv", "--json"]).code, Some(2));
    let report = board.run(["jobs", "show", &better]).stdout;
    assert!(report.contains("METRIC") && report.contains("latency_ms"), "{report}");
    let compared = board.run(["jobs", "compare", &worse, &better]).stdout;
    let line = |name: &str| compared.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("params.method").trim_start().starts_with('*'), "{compared}");
    assert!(line("params.seed").starts_with(' ') && line("metrics.f1").contains("0.25"), "{compared}");
    let document = board.run(["jobs", "compare", &worse, &better, "--json"]).json();
    assert_eq!(document["different_params"], json!(["dataset", "method"]));
    all_is_well(&board).await;
}

#[tokio::test]
async fn without_a_setting_a_board_is_asked_for_by_name_and_the_answer_names_those_there_are() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let none = alice.get("/leaderboard").await;
    assert_eq!((none.status, none.detail().contains("no job has completed")), (400, true), "{none:?}");
    complete(&alice, &json!({ "params": {}, "metrics": { "f1": 0.5, "auc": 0.25 } })).await;
    let refused = alice.get("/leaderboard/history").await;
    assert_eq!((refused.status, refused.detail()), (400, "the query has no metric; add metric=NAME. Metrics: auc, f1"));
    assert_eq!(places(&alice.get("/leaderboard?metric=f1").await.body).len(), 1);

    let keys = Keyspace::default();
    let lost = [keys.boards(), keys.highest("f1"), keys.records("f1", Order::Desc)];
    let _: i64 = redis::cmd("DEL").arg(&lost).query_async(&mut board.redis().await).await.expect("deleted");
    assert_eq!(places(&alice.get("/leaderboard?metric=f1").await.body), []);
    let restored = board.run(["projections", "rebuild", "--json"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(places(&alice.get("/leaderboard?metric=f1").await.body).len(), 1);
    let history = alice.get("/leaderboard/history?metric=f1").await.body;
    assert_eq!(history["records"].as_array().map(Vec::len), Some(1), "{history}");
    all_is_well(&board).await;
}
