//! Requests that schemathesis makes from the document of the API: valid ones, almost valid ones, and one after another.

use std::process::Command;

use leadersboard_tests::board::{ALICE, Board, Finished, ROOT, repository};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::{INSTANT, gated};
use serde_json::json;

/// How long schemathesis may take, in seconds.
const SECONDS: &str = "45";

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how many cases there are is an argument of the run")]
async fn requests_made_from_the_document_find_no_fault() {
    let mut board = Board::start(&[("LEADERBOARD_METRICS", "auc:desc")]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(INSTANT).await;
    let completed = alice.enqueue(&submission, json!({})).await;
    let failed = alice.run("print('no metrics')").await;
    let running = alice.run(&gated(&board.gate("never"))).await;
    for (job, status) in [(&completed, "completed"), (&failed, "failed"), (&running, "running")] {
        alice.wait_for(job, status).await;
    }

    let config = std::fs::read_to_string(repository().join("tests/tools/schemathesis.toml")).expect("the settings");
    let objects = [("COMPLETED", &completed), ("FAILED", &failed), ("RUNNING", &running), ("SUBMISSION", &submission)];
    let config = objects.iter().fold(config, |config, (name, id)| config.replace(&format!("${{{name}}}"), id));
    let settings = board.data().join("schemathesis.toml");
    std::fs::write(&settings, config).expect("the data directory is writable");
    let mut schemathesis = Command::new(repository().join("target/tools-venv/bin/schemathesis"));
    schemathesis.arg("--config-file").arg(&settings);
    schemathesis.args(["run", &format!("{}/openapi.json", board.server()), "--no-color"]);
    // By hand: as many cases of each call and phase, for as long as they take.
    match std::env::var("SCHEMATHESIS_CASES") {
        Ok(cases) => schemathesis.args(["--max-examples", &cases]),
        Err(_) => schemathesis.args(["--max-time", SECONDS]),
    };
    schemathesis.env("TOKEN", ALICE).current_dir(board.data());
    let ended = Finished::of(schemathesis.output().expect("target/tools-venv: scripts/bootstrap.sh makes it"));
    println!("{}", ended.stdout);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(!board.log().contains("panicked"), "{}", board.log());

    let root = Client::new(board.server(), ROOT);
    for job in root.get("/jobs?limit=200&status=running").await.body["jobs"].as_array().expect("a list") {
        let id = job["job_id"].as_str().expect("an id");
        root.post(&format!("/jobs/{id}/cancel"), &json!({ "force": true })).await;
    }
    board.stop();
}
