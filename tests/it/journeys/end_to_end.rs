//! From an upload to a result, over HTTP.

use std::collections::BTreeSet;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT, repository};
use leadersboard_tests::client::Client;
use leadersboard_tests::wait::until_equal;
use serde_json::{Value, json};

use super::{INSTANT, all_is_well, processes_of};

#[tokio::test]
async fn a_submission_becomes_a_result_and_its_story_is_in_the_log() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(INSTANT).await;
    let config = json!({ "resource_class": "small", "note": {"kept": ["as", "it", "came"]} });
    let job = alice.enqueue(&submission, config.clone()).await;
    let shown = alice.wait_for(&job, "completed").await;

    assert_eq!(shown["config"], config);
    assert_eq!(shown["metrics"], json!({ "auc": 0.5 }));
    assert_eq!(shown["params"], json!({ "lr": 0.1 }));
    assert_eq!((&shown["attempt"], &shown["user_id"]), (&json!(1), &json!("alice")));
    for unknown in ["run_id", "error", "failure", "queue"] {
        assert_eq!(shown[unknown], Value::Null, "{unknown}");
    }

    let status = alice.get(&format!("/jobs/{job}/status")).await;
    assert_eq!(status.status, 200);
    let keys: Vec<&str> = status.body.as_object().expect("an object").keys().map(String::as_str).collect();
    let known = ["created_at", "error", "job_id", "run_id", "status", "submission_id", "updated_at", "user_id"];
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(known));

    let logs = alice.get(&format!("/jobs/{job}/logs")).await;
    assert_eq!(logs.body["logs"], "hello from the job\n");
    let results = alice.get(&format!("/jobs/{job}/results")).await;
    assert_eq!((results.status, &results.body["metrics"]), (200, &json!({ "auc": 0.5 })));

    let events = alice.get(&format!("/jobs/{job}/events")).await.body;
    let story: Vec<&str> =
        events["events"].as_array().expect("a list").iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(story, ["job.enqueued", "job.started", "job.completed"]);
    assert!(!events.to_string().contains("fence"), "a fence is the only authority of a run: {events}");

    let folded = all_is_well(&board).await;
    let stories: Vec<_> = folded.stories.into_values().collect();
    assert_eq!(stories, [vec!["job.enqueued", "job.started", "job.completed"]]);
    assert_eq!(processes_of(&board), Vec::<String>::new());
}

#[tokio::test]
async fn a_user_sees_their_own_jobs_and_an_admin_all() {
    let board = Board::start(&[]).await;
    let [alice, bob, root] = [ALICE, BOB, ROOT].map(|token| Client::new(board.server(), token));
    let submission = alice.submit(INSTANT).await;
    let job = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&job, "completed").await;

    for path in ["", "/status", "/logs", "/results", "/events"] {
        let path = format!("/jobs/{job}{path}");
        let (theirs, unknown) = (bob.get(&path).await, bob.get(&path.replace(&job[..8], "00000000")).await);
        assert_eq!((theirs.status, theirs.detail()), (404, unknown.detail()), "{path}: existence is not told");
        assert_eq!(root.get(&path).await.status, 200, "{path}");
    }
    assert_eq!(bob.post("/jobs", &json!({ "submission_id": submission })).await.status, 404);
    assert_eq!(bob.get("/jobs").await.body["jobs"], json!([]));
    assert_eq!(root.get("/jobs").await.body["jobs"][0]["job_id"], json!(job));
    all_is_well(&board).await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_in_pages_without_gap_or_repeat() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(INSTANT).await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(alice.enqueue(&submission, json!({})).await);
    }
    for job in &made {
        alice.wait_for(job, "completed").await;
    }
    made.reverse();
    let mut listed = Vec::new();
    let mut path = "/jobs?limit=3".to_owned();
    loop {
        let page = alice.get(&path).await.body;
        let jobs = page["jobs"].as_array().expect("a list").clone();
        assert!(jobs.len() <= 3);
        listed.extend(jobs.iter().filter_map(|job| job["job_id"].as_str().map(str::to_owned)));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/jobs?limit=3&cursor={cursor}");
    }
    assert_eq!(listed, made);
    assert_eq!(alice.get("/jobs?status=failed").await.body["jobs"], json!([]));
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_log_is_read_while_it_grows_and_its_end_is_told() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let program = format!(
        "import os, sys, time\nprint('first é')\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\nprint('last')\n"
    );
    let job = alice.run(&program).await;
    let poll = async |offset: u64| alice.get(&format!("/jobs/{job}/logs?attempt=1&offset={offset}")).await.body;
    until_equal("the first line is there", Duration::from_secs(20), json!("first é\n"), async || {
        poll(0).await["logs"].clone()
    })
    .await;
    let begun = poll(0).await;
    assert_eq!((&begun["complete"], &begun["next_offset"]), (&json!(false), &json!(9)));
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "failed").await;
    let rest = poll(9).await;
    assert_eq!((&rest["logs"], &rest["complete"]), (&json!("last\n"), &json!(true)));
    let tail = alice.get(&format!("/jobs/{job}/logs?tail_lines=1")).await.body;
    assert_eq!(tail["logs"], "last\n");
    all_is_well(&board).await;
}

#[tokio::test]
async fn the_examples_run_to_their_end_with_a_package_from_an_archive() {
    let board = Board::start(&[]).await;
    for (name, metric) in [("quickstart", "image_auc"), ("sklearn", "lof_auc")] {
        let folder = repository().join("examples").join(name);
        let ended = board.run(["submit", "--json", "--watch", &folder.display().to_string()]);
        assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
        let value = ended.json()["metrics"][metric].as_f64().expect("a number");
        assert!((0.8..=1.0).contains(&value), "{name}: {metric} is {value}");
    }
    all_is_well(&board).await;
}

#[tokio::test]
async fn what_operators_watch_is_there() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(INSTANT).await;
    alice.wait_for(&job, "completed").await;
    assert_eq!(alice.get("/health").await.body, json!({ "status": "healthy" }));
    assert_eq!(alice.get("/health/ready").await.status, 200);
    let request = alice.request(reqwest::Method::GET, "/metrics");
    let text = request.send().await.expect("an answer").text().await.expect("a text");
    for line in [
        "leadersboard_http_requests_total{method=\"GET\",route=\"/jobs/{id}\",status=\"200\"}",
        "leadersboard_commits_total{lane=\"admission\",result=\"committed\"} 2",
        "leadersboard_jobs_total{outcome=\"completed\",kind=\"\",class=\"small\"} 1",
        "leadersboard_job_run_seconds_count{class=\"small\",outcome=\"completed\"} 1",
        "leadersboard_queue_depth{class=\"small\",state=\"waiting\"} 0",
        "leadersboard_commit_seconds_bucket{lane=\"progress\"",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(&job), "an id is no label");
}
