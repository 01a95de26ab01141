//! The private Redis of `up`: it ends, and is started again; or it can't be, and that is told.

use std::net::TcpListener;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, Finished, command};
use leadersboard_tests::client::Client;
use leadersboard_tests::processes::{children, command_line};
use leadersboard_tests::programs::gated;
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{all_is_well, processes_of};

/// How long everything may take to be as it should be.
const SOON: Duration = Duration::from_mins(1);

/// Its process, which answers.
async fn private_redis(board: &Board) -> Pid {
    until("the private Redis runs", SOON, async || {
        let is_redis = |pid: &Pid| String::from_utf8_lossy(&command_line(*pid)).contains("redis-server");
        children(board.pid()).into_iter().find(is_redis)
    })
    .await
}

async fn is_ready(api: &Client) {
    until_equal("ready", SOON, 200, async || api.get("/health/ready").await.status).await;
}

#[tokio::test]
async fn a_job_goes_on_while_the_private_redis_ends_and_is_started_again() {
    let mut board = Board::start(&[("LEASE", "30s")]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;
    let mut redis = private_redis(&board).await;
    for how in [Some(Signal::SIGKILL), Some(Signal::SIGTERM), None, Some(Signal::SIGKILL)] {
        match how {
            Some(signal) => kill(redis, signal).expect("it runs"),
            // It ends without an answer.
            None => drop(redis::cmd("SHUTDOWN").exec_async(&mut board.redis().await).await),
        }
        let before = redis;
        redis = until("another runs", SOON, async || {
            let now = private_redis(&board).await;
            (now != before).then_some(now)
        })
        .await;
        is_ready(&alice).await;
    }
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    let folded = all_is_well(&board).await;
    assert_eq!(folded.stories[&job.parse().expect("an id")], ["job.enqueued", "job.started", "job.completed"]);
    assert_eq!(board.stop(), Some(0), "{}", board.log());
}

#[tokio::test]
async fn a_private_redis_that_can_not_be_started_any_more_ends_all_and_is_told() {
    let mut board = Board::start(&[("INTERRUPT_GRACE", "200ms"), ("TERMINATE_GRACE", "200ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&gated(&board.gate("gate"))).await;
    alice.wait_for(&job, "running").await;
    let (redis, socket) = (private_redis(&board).await, board.data().join("redis/redis.sock"));
    // A folder that is not empty in the place of its socket.
    std::fs::remove_file(&socket).expect("the socket");
    std::fs::create_dir_all(socket.join("taken")).expect("its folder is writable");
    kill(redis, Signal::SIGKILL).expect("it runs");
    assert_eq!(board.wait(), Some(1), "{}", board.log());
    let log = board.log();
    let last = log.lines().rev().take(8).collect::<String>();
    assert!(last.contains("3 times in a row") && last.contains("Failed opening Unix socket"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    until_equal("programs of jobs", SOON, Vec::<String>::new(), async || processes_of(&board)).await;
    std::fs::remove_dir_all(&socket).expect("it is there");
    std::fs::write(board.gate("gate"), "").expect("the gate");
    board.crash_and_restart().await;
    Client::new(board.server(), ALICE).wait_for(&job, "completed").await;
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_metrics_address_that_is_taken_is_told_before_the_board_is_up() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut up = command(data.path());
    up.args(["up", "--listen", "127.0.0.1:0"]).env("METRICS_ADDR", &address);
    let ended = Finished::of(up.output().expect("the binary runs"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.stderr.contains("--metrics-addr") && ended.stderr.contains(&address), "{ended:?}");
}
