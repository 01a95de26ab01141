//! Runs as they come to be in `MLflow`: exactly what their jobs reported, once, with real links.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::{Client, http_client};
use leadersboard_tests::http_faults::{Fault, HttpFaults};
use leadersboard_tests::mlflow::Mlflow;
use leadersboard_tests::programs::gated;
use leadersboard_tests::redis_server::dump;
use leadersboard_tests::tracked::{
    PATIENCE, assert_complete, environment, limits, little, recorded, reporting, settled,
};
use leadersboard_tests::wait::until;
use serde_json::{Map, Value, json};

use super::{INSTANT, all_is_well};

/// A board whose runs are recorded.
async fn tracked_board(mlflow: &Mlflow, options: &[(&str, &str)]) -> Board {
    let environment = environment(mlflow, mlflow.address());
    let mut all: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(options);
    Board::start(&all).await
}

#[tokio::test]
async fn what_a_job_reported_is_in_mlflow_to_the_last_bit_with_its_files_log_and_links() {
    let mlflow = Mlflow::shared().await;
    let board = tracked_board(&mlflow, &[("MLFLOW_URL", "https://mlflow.example/ui/")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&reporting(&limits(), 5, 100_000)).await;
    alice.wait_for(&job, "completed").await;
    let results = alice.get(&format!("/jobs/{job}/results")).await.body;
    recorded(&alice, &job).await;
    let read = mlflow.read_back().await;
    let run = assert_complete(&read, &alice, &job, &limits()).await;

    // The links were there at once, and lead to the run.
    let experiment = read.experiment_id.as_deref().expect("an experiment");
    assert_eq!(results["run_id"], json!(run.id));
    assert_eq!(
        results["mlflow_ui_link"],
        json!(format!("https://mlflow.example/ui/#/experiments/{experiment}/runs/{}", run.id))
    );
    let link = results["mlflow_rest_link"].as_str().expect("a link");
    let linked: Value = http_client().get(link).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(linked["run"]["info"]["run_id"], json!(run.id));
    let status = alice.get(&format!("/jobs/{job}/status")).await.body;
    assert_eq!(status["run_id"], json!(run.id));

    // So does its place on a board; the metrics that are on none are counted.
    let listed = alice.get("/leaderboard/metrics?limit=1").await.body;
    let metric = listed["metrics"][0]["metric"].as_str().expect("a metric");
    let row = board.run(["board", &format!("--metric={metric}"), "--json"]).json()["rows"][0].clone();
    assert_eq!((&row["run_id"], &row["mlflow_ui_link"]), (&results["run_id"], &results["mlflow_ui_link"]));
    let [all, ranked] = [&results, &row].map(|of| of["metrics"].as_object().map_or(0, Map::len));
    assert_eq!((listed["total"].as_u64(), ranked), (Some(64), 64));
    assert_eq!(alice.get(&format!("/jobs/{job}")).await.body["unranked_metrics"], json!(all - ranked));
    assert!(board.run(["jobs", "show", &job]).stdout.contains("not ranked:"));

    let job = alice.get(&format!("/jobs/{job}")).await.body;
    assert_eq!(
        (&json!(run.name), &json!(run.tags["leadersboard.submission_id"])),
        (&job["job_id"], &job["submission_id"])
    );
    let tag = |name: &str| run.tags[name].as_str();
    assert_eq!(
        [tag("leadersboard.user"), tag("mlflow.user"), tag("mlflow.source.name")],
        ["alice", "alice", "main.py"]
    );
    all_is_well(&board).await;
}

#[tokio::test]
async fn jobs_that_fail_or_are_cancelled_are_recorded_as_what_they_are() {
    let mlflow = Mlflow::shared().await;
    let board = tracked_board(&mlflow, &[]).await;
    let alice = Client::new(board.server(), ALICE);
    let cancelled = alice.run(&gated(&board.gate("never"))).await;
    alice.wait_for(&cancelled, "running").await;
    // The only slot is in use.
    let never_began = alice.run(INSTANT).await;
    for job in [&never_began, &cancelled] {
        alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
        alice.wait_for(job, "cancelled").await;
    }
    let failed = alice.run("import sys\nprint('so far')\nsys.exit(3)\n").await;
    let shown = alice.wait_for(&failed, "failed").await;
    recorded(&alice, &failed).await;
    recorded(&alice, &cancelled).await;

    let read = mlflow.read_back().await;
    assert_eq!(read.active().count(), 2, "{never_began} never began");
    let run = read.only_of(&failed);
    assert_eq!(run.status, "FAILED");
    assert_eq!(run.tags["leadersboard.failure_kind"], "nonzero_exit");
    assert_eq!(json!(run.tags["leadersboard.error"]), shown["error"]);
    assert!(run.files.contains_key("leadersboard/log.txt"), "{run:?}");
    assert_eq!(read.only_of(&cancelled).status, "KILLED");
    all_is_well(&board).await;
}

#[tokio::test]
async fn failures_are_left_out_where_that_is_wanted() {
    let mlflow = Mlflow::shared().await;
    let board = tracked_board(&mlflow, &[("MLFLOW_TRACK_FAILURES", "false")]).await;
    let alice = Client::new(board.server(), ALICE);
    let failed = alice.run("raise SystemExit(3)\n").await;
    let shown = alice.wait_for(&failed, "failed").await;
    assert_eq!(shown["tracking"], Value::Null);
    let completed = alice.run(INSTANT).await;
    alice.wait_for(&completed, "completed").await;
    recorded(&alice, &completed).await;
    settled(&mlflow, 1, "FINISHED").await;
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_that_failed_and_was_replayed_has_a_run_of_each_end_and_none_is_mixed() {
    let mlflow = Mlflow::shared().await;
    let board = tracked_board(&mlflow, &[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("second");
    let program = reporting(&little(), 2, 10);
    let job = alice.run(&format!("import os\nif not os.path.exists({gate:?}): raise SystemExit(1)\n{program}")).await;
    alice.wait_for(&job, "failed").await;
    recorded(&alice, &job).await;
    std::fs::write(&gate, "").expect("the gate");
    let replayed = board.run_alike(["dlq", "replay", &job]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    recorded_as(&alice, &job, "completed").await;

    let read = mlflow.read_back().await;
    let [failed, finished] = ["FAILED", "FINISHED"].map(|status| {
        let of_status: Vec<_> = read.active().filter(|run| run.status == status).collect();
        assert_eq!(of_status.len(), 1, "{read:#?}");
        of_status[0]
    });
    assert_eq!(read.active().count(), 2);
    finished.assert_holds(&little());
    failed.assert_holds(&json!({ "params": {}, "metrics": {} }));
    assert_eq!(failed.files.keys().collect::<Vec<_>>(), ["leadersboard/log.txt"]);
    assert_eq!(finished.files.len(), 4);
    assert_ne!(failed.tags["leadersboard.fence"], finished.tags["leadersboard.fence"]);
    assert_eq!(alice.get(&format!("/jobs/{job}/results")).await.body["run_id"], json!(finished.id));
    all_is_well(&board).await;
}

/// Waits until a job has this status and its end is recorded.
async fn recorded_as(client: &Client, job: &str, status: &str) {
    until(&format!("job {job} is {status} and recorded"), PATIENCE, async || {
        let shown = client.get(&format!("/jobs/{job}")).await.body;
        (shown["status"] == status && shown["tracking"] == "recorded").then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_a_silent_mlflow_one_job_waits_out_its_budget_and_the_next_do_not_wait() {
    const JOBS: usize = 4;
    let mlflow = Mlflow::shared().await;
    let network = HttpFaults::before(mlflow.address());
    network.set(Fault::Slow(Duration::from_secs(30))).await;
    let mut options = environment(&mlflow, &network.address());
    options.push(("TRACKING_BUDGET", "1s".to_owned()));
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let board = Board::start(&options).await;
    let alice = Client::new(board.server(), ALICE);
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        let job = alice.run(INSTANT).await;
        let shown = alice.wait_for(&job, "completed").await;
        assert_eq!((&shown["tracking"], &shown["run_id"]), (&json!("waiting"), &Value::Null));
        jobs.push(job);
    }
    let request = alice.request(reqwest::Method::GET, "/metrics");
    let text = request.send().await.expect("an answer").text().await.expect("a text");
    let sum = "leadersboard_tracking_inline_seconds_sum ";
    let waited = text.lines().find_map(|line| line.strip_prefix(sum)?.parse::<f64>().ok());
    assert!(text.contains("leadersboard_tracking_inline_seconds_count 1\n"), "not one waited:\n{text}");
    // A call that nobody gives up goes on for ten seconds.
    assert!(waited.is_some_and(|seconds| (1.0..5.0).contains(&seconds)), "{waited:?}");
    network.heal().await;
    for job in &jobs {
        recorded(&alice, job).await;
    }
    all_is_well(&board).await;
}

#[tokio::test]
async fn an_account_is_told_to_nobody() {
    let mlflow = Mlflow::shared().await;
    let network = HttpFaults::before(mlflow.address());
    // `printf 'ann:s3cr3t' | base64`
    network.set(Fault::Locked("Basic YW5uOnMzY3IzdA==".to_owned())).await;
    let address = network.address().replace("//", "//ann:s3cr3t@");
    let mut options = environment(&mlflow, &address);
    options.push(("RUST_LOG", "debug".to_owned()));
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let board = Board::start(&options).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("import os\nprint(dict(os.environ))\n{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
    recorded(&alice, &job).await;

    let results = alice.get(&format!("/jobs/{job}/results")).await.body;
    assert!(results["mlflow_rest_link"].as_str().is_some_and(|link| link.starts_with(&network.address())), "{results}");
    let printed = alice.get(&format!("/jobs/{job}/logs")).await.body["logs"].to_string();
    assert!(printed.contains("PATH") && !printed.contains("MLFLOW") && !printed.contains(network.address().as_str()));
    let keys = dump(&mut board.redis().await).await;
    let in_redis = keys.iter().any(|(_, value, _)| value.windows(6).any(|part| part == b"s3cr3t"));
    assert!(!in_redis);
    let read = format!("{:?}", mlflow.read_back().await.only());
    for (where_, text) in
        [("results", &results.to_string()), ("output", &printed), ("run", &read), ("log", &board.log())]
    {
        assert!(!text.contains("s3cr3t") && !text.contains("YW5uOnMzY3IzdA"), "the {where_}: {text}");
    }
    all_is_well(&board).await;
}
