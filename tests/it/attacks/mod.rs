//! What an attacker sends, over the real binary: it is refused, nothing of it is kept, and the server goes on.

mod forms;
mod fuzz;
mod ids;
mod json;
mod names;

use std::collections::BTreeSet;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::{Answer, Client};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

/// The memory of a board's process, in bytes.
fn memory(board: &Board) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", board.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
