//! Clients that mean harm, or do not care: what they send on the wire, and what must hold then.

mod bodies;
mod browsers;
mod crowds;
mod endings;
mod heads;
mod lines;
mod methods;
mod tls;

use std::time::Duration;

use leadersboard_tests::wait::scaled;
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take to a client that hides nothing.
const SOON: Duration = Duration::from_secs(20);

/// The host and port of a server's address.
fn address(server: &str) -> &str {
    server.split_once("://").expect("a scheme").1
}

/// A connection on which these bytes were sent.
async fn sent(server: &str, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(address(server)).await.expect("a connection");
    // It may be answered and closed before the last byte.
    let _ = connection.write_all(bytes).await;
    connection
}

/// All that comes until the server closes the connection.
async fn rest(connection: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = connection.read_to_end(&mut bytes);
    // A reset after the answer takes nothing of it away.
    let _ = timeout(scaled(SOON), read).await.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is answered to these bytes, on a connection that ends with them.
async fn answers(server: &str, bytes: &[u8]) -> String {
    rest(&mut sent(server, bytes).await).await
}

/// The status and the code of one refusal.
fn refusal(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert!(body["detail"].is_string() && body["request_id"].is_string(), "{answer}");
    (status, body["code"].as_str().expect("a code").to_owned())
}

/// The memory that a process has now. (proc(5))
fn resident_bytes(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib << 10).expect("its size")
}
