//! What was kept for long enough goes, and what is in use stays.

use std::path::Path;
use std::time::Duration;

use events::{JobId, Order};
use leadersboard_tests::age::age;
use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::gated;
use leadersboard_tests::wait::until;
use projections::Keyspace;
use redis::AsyncCommands;
use serde_json::json;
use tokio::time::sleep;

use super::{INSTANT, all_is_well};

const PATIENCE: Duration = Duration::from_secs(30);

async fn gone(alice: &Client, path: &str) {
    until(&format!("{path} is gone"), PATIENCE, async || (alice.get(path).await.status == 404).then_some(())).await;
}

async fn gone_from_disk(path: &Path) {
    until(&format!("{} is gone", path.display()), PATIENCE, async || (!path.exists()).then_some(())).await;
}

/// The keys that will not vanish by themselves, but for those of work streams.
async fn lasting_keys(board: &Board) -> Vec<String> {
    let (mut redis, keys) = (board.redis().await, Keyspace::default());
    let mut lasting = Vec::new();
    for key in redis.keys::<_, Vec<String>>("*").await.expect("keys") {
        let left: i64 = redis.pttl(&key).await.expect("a time to live");
        if left == -1 && !key.starts_with(&keys.queue_prefix()) {
            lasting.push(key);
        }
    }
    lasting.sort();
    lasting
}

#[tokio::test]
async fn what_was_kept_for_long_enough_leaves_only_its_history() {
    let options = [("RETENTION", "3s"), ("SUBMISSION_TTL", "1s"), ("EXPIRE_INTERVAL", "100ms"), ("WORKER_SLOTS", "2")];
    let board = Board::start(&options).await;
    let alice = Client::new(board.server(), ALICE);
    let keys = Keyspace::default();
    let mut wanted = lasting_keys(&board).await;
    wanted.extend([Order::Asc, Order::Desc].map(|order| keys.records("auc", order)));
    wanted.sort_unstable();
    let [uploads, logs, artifacts] = ["uploads", "logs", "artifacts"].map(|folder| board.data().join(folder));
    let gate = board.gate("gate");

    let unused = alice.submit(INSTANT).await;
    std::fs::write(&gate, "").expect("the gate");
    let shared = alice.submit(&gated(&gate)).await;
    let first = alice.enqueue(&shared, json!({})).await;
    alice.wait_for(&first, "completed").await;
    std::fs::remove_file(&gate).expect("the gate");
    let second = alice.enqueue(&shared, json!({})).await;
    let alone = alice.submit(INSTANT).await;
    let job = alice.enqueue(&alone, json!({})).await;
    alice.wait_for(&job, "completed").await;
    assert!(logs.join(&job).exists() && uploads.join(&alone).exists() && artifacts.join(&job).exists());

    for gone_from_lists in [format!("/submissions/{unused}"), format!("/jobs/{first}"), format!("/jobs/{job}")] {
        gone(&alice, &gone_from_lists).await;
    }
    gone(&alice, &format!("/submissions/{alone}")).await;
    for gone_with_them in
        [uploads.join(&unused), uploads.join(&alone), logs.join(&job), logs.join(&first), artifacts.join(&job)]
    {
        gone_from_disk(&gone_with_them).await;
    }
    assert_eq!(alice.get(&format!("/jobs/{job}/results")).await.status, 404);
    assert_eq!(alice.get(&format!("/jobs/{job}/logs")).await.status, 404);
    assert_eq!(alice.get(&format!("/submissions/{shared}")).await.status, 200, "a job of it runs");
    assert!(uploads.join(&shared).join("main.py").exists());

    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&second, "completed").await;
    gone(&alice, &format!("/jobs/{second}")).await;
    gone(&alice, &format!("/submissions/{shared}")).await;
    gone_from_disk(&uploads.join(&shared)).await;
    let mut after = lasting_keys(&board).await;
    after.retain(|key| !key.ends_with(":stored"));
    assert_eq!(after, wanted, "nothing is left but what is permanent");
    assert_eq!(alice.get("/leaderboard?metric=auc").await.body["rows"], json!([]));
    let history = alice.get("/leaderboard/history?metric=auc").await.body;
    assert!(history["records"].as_array().is_some_and(|records| !records.is_empty()), "{history}");
    assert_eq!(std::fs::read_dir(&logs).expect("logs").count(), 0);
    let left = std::fs::read_dir(&artifacts).expect("artifacts").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".staging"]);
    assert_eq!(std::fs::read_dir(artifacts.join(".staging")).expect("staging").count(), 0);
    let verified = board.run(["projections", "verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let folded = all_is_well(&board).await;
    assert!(folded.submissions.is_empty() && folded.jobs.is_empty());
    assert_eq!(folded.stories.len(), 3);
    for story in folded.stories.values() {
        assert_eq!(story[..], ["job.enqueued", "job.started", "job.completed", "job.expired"]);
    }
}

#[tokio::test]
async fn a_job_that_is_accepted_as_its_submission_ends_finds_its_files() {
    let options = [("SUBMISSION_TTL", "1s"), ("EXPIRE_INTERVAL", "100ms"), ("WORKER_SLOTS", "4")];
    let board = Board::start(&options).await;
    let alice = Client::new(board.server(), ALICE);
    let round = async |number: u64| {
        let submission = alice.submit(INSTANT).await;
        sleep(Duration::from_millis(500 + 25 * number)).await;
        let answer = alice.post("/jobs", &json!({ "submission_id": submission })).await;
        match answer.status {
            202 => {
                let job = answer.body["job_id"].as_str().expect("an id").to_owned();
                alice.wait_for(&job, "completed").await;
                Some(job.parse::<JobId>().expect("an id"))
            }
            404 => {
                gone_from_disk(&board.data().join("uploads").join(submission)).await;
                None
            }
            _ => panic!("{answer:?}"),
        }
    };
    let rounds = futures::future::join_all((0..60).map(round)).await;
    let accepted: Vec<JobId> = rounds.into_iter().flatten().collect();
    assert!((1..60).contains(&accepted.len()), "{} were accepted: there was no race", accepted.len());
    let folded = all_is_well(&board).await;
    assert_eq!(folded.submissions.len(), accepted.len());
    for job in accepted {
        assert_eq!(folded.stories[&job], ["job.enqueued", "job.started", "job.completed"]);
    }
}

#[tokio::test]
async fn files_that_no_record_tells_of_go_an_hour_later() {
    let board = Board::start(&[("EXPIRE_INTERVAL", "100ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    let uploads = board.data().join("uploads");
    let kept = uploads.join(alice.submit(INSTANT).await);
    let [old, young] =
        ["0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6"].map(|id| uploads.join(id));
    let not_ours = uploads.join("notes");
    for folder in [&old, &young, &not_ours] {
        std::fs::create_dir(folder).expect("a folder");
        std::fs::write(folder.join("main.py"), INSTANT).expect("a file");
    }
    for folder in [&old, &kept, &not_ours] {
        age(folder, Duration::from_hours(2));
    }
    gone_from_disk(&old).await;
    assert!(kept.exists() && young.exists() && not_ours.exists());
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_folder_of_another_user_is_named_with_the_cure_and_keeps_no_other() {
    let board = Board::start_unprivileged(&[("EXPIRE_INTERVAL", "100ms"), ("JOB_PYTHON", "/usr/bin/python3")]).await;
    let uploads = board.data().join("uploads");
    let [foreign, own] =
        ["0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6"].map(|id| uploads.join(id));
    for folder in [&foreign, &own] {
        std::fs::create_dir(folder).expect("a folder");
    }
    std::fs::write(foreign.join("main.py"), INSTANT).expect("a file");
    std::os::unix::fs::chown(&own, board.user(), board.user()).expect("root may");
    for folder in [&foreign, &own] {
        age(folder, Duration::from_hours(2));
    }
    gone_from_disk(&own).await;
    assert!(foreign.exists());
    let user = board.user().expect("a user of its own");
    let told =
        format!("it belongs to root (0), and this process runs as user {user}. Run `api` and `worker` as the same");
    until("the log names the folder", PATIENCE, async || {
        let log = board.log();
        (log.contains(&told) && log.contains(&foreign.display().to_string())).then_some(())
    })
    .await;
    std::os::unix::fs::chown(&foreign, board.user(), board.user()).expect("root may");
    gone_from_disk(&foreign).await;
}
