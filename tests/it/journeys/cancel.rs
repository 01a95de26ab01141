//! Asking for a job's end.

use leadersboard_tests::board::{ALICE, BOB, Board};
use leadersboard_tests::client::Client;
use serde_json::json;

use super::{INSTANT, all_is_well, processes_of};

#[tokio::test]
async fn a_pending_job_ends_at_once_and_a_running_one_when_its_worker_hears_of_it() {
    let board = Board::start(&[("LEASE", "1s")]).await;
    let [alice, bob] = [ALICE, BOB].map(|token| Client::new(board.server(), token));
    let running = alice.run("import time\ntime.sleep(300)\n").await;
    let waiting = alice.run(INSTANT).await;
    alice.wait_for(&running, "running").await;

    let path = |job: &str| format!("/jobs/{job}/cancel");
    assert_eq!(bob.post(&path(&waiting), &json!({})).await.status, 404);
    assert_eq!(alice.post(&path(&waiting), &json!({ "forse": true })).await.status, 400);
    let ended = alice.post(&path(&waiting), &json!({})).await;
    assert_eq!((ended.status, &ended.body["status"]), (202, &json!("cancelled")));
    assert_eq!(alice.post(&path(&running), &json!({})).await.status, 202);
    assert_eq!(alice.post(&path(&running), &json!({})).await.status, 202, "asking twice is no error");
    alice.wait_for(&running, "cancelled").await;
    assert_eq!(processes_of(&board), Vec::<String>::new());

    // The ticket of the job that never started is cleared up by the worker that meets it.
    let last = alice.run(INSTANT).await;
    alice.wait_for(&last, "completed").await;
    assert_eq!(alice.post(&path(&last), &json!({})).await.status, 409);
    let folded = all_is_well(&board).await;
    let story = |job: &str| folded.stories[&job.parse().expect("an id")].clone();
    assert_eq!(story(&waiting), ["job.enqueued", "job.cancel_requested", "job.cancelled"]);
    assert_eq!(story(&running), ["job.enqueued", "job.started", "job.cancel_requested", "job.cancelled"]);
}
