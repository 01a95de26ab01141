use std::os::unix::fs::symlink;

use clap::Parser;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::client::http::test_server::{Answer, Request, TestServer};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    command: DownloadCommand,
}

const ID: &str = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
const CONTENT: &str = "0123456789";

fn digest() -> String {
    hex::encode(Sha256::digest(CONTENT))
}

/// The request for the list.
fn artifacts() -> String {
    format!("GET /jobs/{ID}/artifacts")
}

fn listing(path: &str) -> String {
    json!({"artifacts": [{"path": path, "bytes": 10, "sha256": digest()}]}).to_string()
}

/// Serves one file, from the byte that is asked for.
fn serve(path: &'static str) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| {
        if request.line == artifacts() {
            return (200, "", listing(path));
        }
        assert_eq!(request.line, format!("{}/{path}", artifacts()));
        let range = request.head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        match range.and_then(|range| range.trim_end_matches('-').parse::<usize>().ok()) {
            Some(from) => {
                assert!(request.head.contains(&format!("if-range: \"{}\"", digest())), "{}", request.head);
                (206, "", CONTENT[from..].to_owned())
            }
            None => (200, "", CONTENT.to_owned()),
        }
    }
}

async fn download(server: &TestServer, to: &std::path::Path, more: &[&str]) -> Result<(), ClientError> {
    let to = to.display().to_string();
    let arguments = ["download", ID, "--to", &to].into_iter().chain(more.iter().copied());
    Cli::try_parse_from(arguments).unwrap().command.run(&server.client(), Output::Human).await
}

fn sentence(done: Result<(), ClientError>) -> String {
    done.unwrap_err().sentence().unwrap()
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_file_comes_once_and_is_not_overwritten_unasked() {
    let (server, to) = (TestServer::start(serve("a/b.txt")).await, tempfile::tempdir().unwrap());
    let file = to.path().join("a/b.txt");
    download(&server, to.path(), &[]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CONTENT);
    download(&server, to.path(), &["a/"]).await.unwrap();
    assert_eq!(server.requests().len(), 3, "it is there");
    std::fs::write(&file, "mine").unwrap();
    assert!(sentence(download(&server, to.path(), &[]).await).contains("--force"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    download(&server, to.path(), &["--force"]).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CONTENT);
    assert_eq!(names(&to.path().join("a")), ["b.txt"], "nothing half-done stays");
    assert!(sentence(download(&server, to.path(), &["a/c"]).await).contains(&format!("jobs artifacts {ID}")));
}

#[tokio::test]
async fn what_has_come_is_not_fetched_again() {
    let (server, to) = (TestServer::start(serve("b.txt")).await, tempfile::tempdir().unwrap());
    let folder = Folder::open(to.path()).unwrap();
    let file: Listing = serde_json::from_value(json!({"path": "b.txt", "bytes": 10, "sha256": digest()})).unwrap();
    folder.partial(&file).unwrap().write(&CONTENT.as_bytes()[..4], &file).unwrap();
    download(&server, to.path(), &[]).await.unwrap();
    assert_eq!(std::fs::read_to_string(to.path().join("b.txt")).unwrap(), CONTENT);
    assert!(server.requests()[1].head.contains("range: bytes=4-"));
    assert_eq!(names(to.path()), ["b.txt"]);
}

#[tokio::test]
async fn a_damaged_file_is_not_kept() {
    let server = TestServer::start(|request| match request.line.as_str() {
        line if line == artifacts() => (200, "", listing("b.txt")),
        _ => (200, "", "0123456780".to_owned()),
    })
    .await;
    let to = tempfile::tempdir().unwrap();
    assert!(sentence(download(&server, to.path(), &[]).await).contains("digest"));
    assert_eq!(names(to.path()), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_written_outside_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    for path in ["a/b.txt", "a"] {
        let (server, to) = (TestServer::start(serve(path)).await, tempfile::tempdir().unwrap());
        let target = if path == "a" { outside.path().join("file") } else { outside.path().to_owned() };
        symlink(target, to.path().join("a")).unwrap();
        sentence(download(&server, to.path(), &[]).await);
        let forced = download(&server, to.path(), &["--force"]).await;
        // A link that stands in a file's own place may be replaced; one that stands for a folder is not gone through.
        assert_eq!(forced.is_ok(), path == "a", "{path}: {forced:?}");
        assert_eq!(names(outside.path()), Vec::<String>::new());
    }
    let to = tempfile::tempdir().unwrap();
    let server = TestServer::start(|_| (200, "", listing("../x"))).await;
    assert!(sentence(download(&server, &to.path().join("in"), &[]).await).contains("can't be read"));
    assert_eq!(names(to.path()), Vec::<String>::new());
}
