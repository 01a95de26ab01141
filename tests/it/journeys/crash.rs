//! What is there after everything was killed.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, command};
use leadersboard_tests::client::Client;
use leadersboard_tests::wait::{until, until_equal};
use serde_json::json;

use super::{INSTANT, all_is_well, processes_of};

#[tokio::test]
async fn nothing_accepted_is_lost_when_up_is_killed_in_the_middle_of_a_job() {
    let mut board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    // The first run waits for ever; the one after the crash finds the gate open.
    let program =
        format!("import os, time\nprint('begun')\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\n{INSTANT}");
    let running = alice.run(&program).await;
    let waiting = alice.run(INSTANT).await;
    alice.wait_for(&running, "running").await;
    until("the program runs", Duration::from_secs(20), async || (processes_of(&board).len() == 1).then_some(())).await;

    board.crash_and_restart().await;
    std::fs::write(&gate, "").expect("the gate");
    let alice = Client::new(board.server(), ALICE);
    let shown = alice.wait_for(&running, "completed").await;
    assert_eq!(shown["attempt"], json!(2));
    alice.wait_for(&waiting, "completed").await;

    let folded = all_is_well(&board).await;
    let story = &folded.stories[&running.parse().expect("an id")];
    let lost = [
        "job.enqueued",
        "job.started",
        "job.lease_lost",
        "job.retry_scheduled",
        "job.dispatched",
        "job.started",
        "job.completed",
    ];
    assert_eq!(*story, lost);
    assert_eq!(processes_of(&board), Vec::<String>::new());
}

#[tokio::test]
async fn an_orderly_end_gives_running_jobs_back_without_costing_them_a_try() {
    let mut board = Board::start(&[("DRAIN_TIMEOUT", "100ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let program = format!("import os, time\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\n{INSTANT}");
    let job = alice.run(&program).await;
    alice.wait_for(&job, "running").await;
    assert_eq!(board.stop(), Some(0), "{}", board.log());
    assert_eq!(processes_of(&board), Vec::<String>::new());
    std::fs::write(&gate, "").expect("the gate");
    board.crash_and_restart().await;
    let alice = Client::new(board.server(), ALICE);
    alice.wait_for(&job, "completed").await;
    let folded = all_is_well(&board).await;
    let job = &folded.jobs[&job.parse().expect("an id")];
    assert_eq!((job.attempt(), job.losses), (2, events::job::Losses::default()));
}

#[tokio::test]
async fn the_private_redis_dies_with_up_and_nobody_else_gets_in() {
    let mut board = Board::start(&[]).await;
    let url = board.redis_url();
    let stranger = url.split('?').next().expect("a path").to_owned();
    let mut connection = leadersboard_tests::redis_server::connect(&stranger).await;
    let refused = redis::cmd("GET").arg("x").query_async::<Option<String>>(&mut connection).await.unwrap_err();
    assert_eq!(refused.code(), Some("NOAUTH"));
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(board.data().join(name)).expect(name).permissions().mode() & 0o777
    };
    assert_eq!([mode("redis.url"), mode("client.json"), mode("redis/redis.sock")], [0o600, 0o600, 0o700]);
    let running = leadersboard_tests::redis_server::connect(&url).await;
    drop(running);

    nix::sys::signal::kill(board.pid(), nix::sys::signal::Signal::SIGKILL).expect("it runs");
    until_equal("its Redis is gone too", Duration::from_secs(10), true, async || {
        redis::Client::open(url.as_str()).expect("a url").get_multiplexed_async_connection().await.is_err()
    })
    .await;
    board.crash_and_restart().await;
    assert_ne!(board.redis_url(), url, "every start has a password of its own");
}

#[tokio::test]
async fn a_second_up_is_told_who_was_first() {
    let board = Board::start(&[]).await;
    let output = command(board.data()).args(["up", "--listen", "127.0.0.1:0"]).output().expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(board.server()) && stderr.contains(&board.pid().to_string()), "{stderr}");
}
