//! Clients that take connections and send nothing, where a process may open few files.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::gated;
use leadersboard_tests::wait::until;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What `up` may open. With one slot that leaves 40 connections.
const FILES: u64 = 400;
const CONNECTIONS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn idle_connections_neither_silence_the_api_nor_end_a_job() {
    let own = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 256, FILES).expect("it can be lowered");
    let board = Board::start(&[("WORKER_SLOTS", "1")]).await;
    setrlimit(Resource::RLIMIT_NOFILE, own.0, own.1).expect("root can raise it again: run these tests as root");
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let job = alice.run(&gated(&gate)).await;
    alice.wait_for(&job, "running").await;

    let address = board.server().trim_start_matches("http://");
    let mut idle = Vec::new();
    for _ in 0..10 * CONNECTIONS {
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
        (closed >= 9 * CONNECTIONS).then_some(())
    })
    .await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", board.pid())).expect("it runs").count();
    assert!(open < usize::try_from(FILES).expect("few"), "{open} open files");
    std::fs::write(&gate, "").expect("the gate");
    let shown = bystander.wait_for(&job, "completed").await;
    assert_eq!(shown["attempt"], 1, "{shown}");
}
