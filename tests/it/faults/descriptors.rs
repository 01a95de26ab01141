//! Clients that take connections and send nothing, where a process may open few files.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::gated;
use leadersboard_tests::wait::until;
use nix::sys::resource::{Resource, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What `up` may open, and this test. With one slot that leaves 190 connections.
const FILES: u64 = 700;
const CONNECTIONS: usize = 190;
const IDLE: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn idle_connections_neither_silence_the_api_nor_end_a_job() {
    // Each test has a process of its own.
    setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).expect("it can be lowered");
    let board = Board::start(&[("WORKER_SLOTS", "1")]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;

    let address = board.server().trim_start_matches("http://");
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(address).await.expect("a connection"));
    }
    // A client without any connection so far.
    let bystander = Client::new(board.server(), ALICE);
    assert_eq!(bystander.get("/health/live").await.status, 200);
    until("the oldest idle connections are closed", PATIENCE, async || {
        let mut closed = 0;
        for connection in &mut idle {
            let read = tokio::time::timeout(Duration::from_millis(1), connection.read(&mut [0; 64])).await;
            closed += usize::from(matches!(read, Ok(Ok(0) | Err(_))));
        }
        (closed >= IDLE - CONNECTIONS).then_some(())
    })
    .await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", board.pid())).expect("it runs").count();
    assert!(open < usize::try_from(FILES).expect("few"), "{open} open files");
    std::fs::write(&gate, "").expect("the gate");
    let shown = bystander.wait_for(&job, "completed").await;
    assert_eq!(shown["attempt"], 1, "{shown}");
}
