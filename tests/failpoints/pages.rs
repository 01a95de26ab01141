//! The pages that show the document, in a real Chromium.

use std::path::Path;
use std::process::Command;

use leadersboard_tests::board::{Board, Finished};
use serde_json::Value;

/// Shows a page, and returns its text as it is rendered. What the network did is in `netlog`.
fn shown(address: &str, folder: &Path, netlog: &Path) -> Finished {
    let mut chromium = Command::new("chromium");
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    // Pages get half a minute of their own time; what they wait for goes as fast as it can.
    chromium.args(["--virtual-time-budget=30000", "--enable-logging=stderr", "--dump-dom"]);
    chromium.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
    chromium.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    chromium.arg(format!("--log-net-log={}", netlog.display())).arg(address).env("HOME", folder);
    Finished::of(chromium.output().expect("chromium: scripts/bootstrap.sh installs it"))
}

/// The addresses that the page itself asked for; the browser has requests of its own.
fn asked_by_the_page(netlog: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(netlog).expect("a log of the network");
    let log: Value = serde_json::from_str(&text).expect("JSON");
    let requests = log["events"].as_array().expect("events").iter().map(|event| &event["params"]);
    let by_a_page = requests.filter(|request| request["initiator"].as_str().is_some_and(|who| who.contains("://")));
    by_a_page.filter_map(|request| request["url"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_pages_show_the_calls_and_ask_no_other_host() {
    let board = Board::start(&[]).await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    for page in ["docs", "redoc"] {
        let netlog = folder.path().join(format!("{page}.json"));
        let ended = shown(&format!("{}/{page}", board.server()), folder.path(), &netlog);
        assert_eq!(ended.code, Some(0), "{page}: {}", ended.stderr);
        for summary in ["Uploads a submission", "Shows the status of a job", "Shows the best job of each user"] {
            assert!(ended.stdout.contains(summary), "{page} does not show {summary:?}: {}", ended.stdout);
        }
        assert!(!ended.stderr.contains("Content Security Policy"), "{page}: {}", ended.stderr);
        let asked = asked_by_the_page(&netlog);
        assert!(asked.iter().any(|address| address.ends_with("/openapi.json")), "{page}: {asked:?}");
        let is_here = |address: &String| address.starts_with(&format!("{}/", board.server()));
        assert!(asked.iter().all(is_here), "{page}: {asked:?}");
    }
}
