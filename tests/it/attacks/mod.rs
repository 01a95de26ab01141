//! Clients that mean harm, or do not care: what they send, on the wire and in forms, paths and JSON. It is refused, nothing
//! of it is kept, and the server goes on.

mod bodies;
mod browsers;
mod crowds;
mod endings;
mod forms;
mod fuzz;
mod heads;
mod ids;
mod json;
mod lines;
mod methods;
mod names;
mod tls;

use std::collections::BTreeSet;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::{Answer, Client};
use leadersboard_tests::wait::scaled;
use nix::unistd::Pid;
use reqwest::Method;
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

/// The boundary of the forms that are written by hand.
const BOUNDARY: &str = "b";

/// One part of a form, exactly as it is sent.
fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    [format!("--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n").as_bytes(), content, b"\r\n"].concat()
}

/// A file of this name, which is sent byte for byte.
fn file(name: &[u8], content: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"");
    [head.as_bytes(), name, b"\"\r\n\r\n", content, b"\r\n"].concat()
}

fn text(name: &str, content: &str) -> Vec<u8> {
    part(&format!("form-data; name=\"{name}\""), content.as_bytes())
}

/// A form of these parts.
fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

/// A program and a config.
fn good() -> Vec<u8> {
    [file(b"main.py", b"print(1)"), file(b"config.yaml", b"a: 1")].concat()
}

async fn send_form(client: &Client, body: Vec<u8>) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    client.send(client.request(Method::POST, "/submissions").header("content-type", kind).body(body)).await
}

/// Sends a request whose path no client library would leave as it is, and gives the status and the answer.
async fn send_path(board: &Board, method: &str, path: &str) -> (u16, String) {
    let address = board.server().trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ALICE}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {answer:?}")), answer)
}

/// The submissions that have files, and what is staged.
fn uploads(board: &Board) -> BTreeSet<String> {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(board.data().join(folder)).expect("a folder").flatten();
        entries.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy())).collect::<Vec<_>>()
    };
    names("uploads").into_iter().chain(names("uploads/.staging")).collect()
}
