//! `leadersboard jobs artifacts`, and the list of what a job left.

use events::ArtifactPath;
use serde::Deserialize;
use serde_json::Value;

use crate::client::document::Document;
use crate::client::http::error::ClientError;
use crate::client::http::request::Client;
use crate::client::output::print::{Output, print_document, print_text};
use crate::client::output::table::{Align, render};
use crate::client::output::{human, screen};

/// As much of a digest as tells two files apart.
const SHOWN_DIGEST: usize = 12;
/// How many of the reasons are told for what is not kept.
const SHOWN_SKIPPED: usize = 10;

/// The answer of `GET /jobs/{id}/artifacts`.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) artifacts: Vec<Listing>,
    #[serde(default)]
    skipped: Vec<Passed>,
    #[serde(default)]
    skipped_count: u64,
    #[serde(default)]
    left_out_count: u64,
}

/// A file that a job left. A path that could lead out of a folder is refused with the whole answer.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Listing {
    pub(super) path: ArtifactPath,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

#[derive(Debug, Deserialize)]
struct Passed {
    path: String,
    reason: String,
}

pub(super) async fn run(client: &Client, job_id: &str, output: Output) -> Result<(), ClientError> {
    let document = fetch(client, job_id).await?;
    if output == Output::Json {
        return print_document(&document);
    }
    let listed = parse(&document.value)?;
    if listed.artifacts.is_empty() {
        screen::note("the job has left no files");
    } else {
        print_text(&table(&listed.artifacts))?;
    }
    for sentence in not_kept(&listed) {
        screen::note(&sentence);
    }
    Ok(())
}

pub(super) async fn fetch(client: &Client, job_id: &str) -> Result<Document, ClientError> {
    client.document(&format!("/jobs/{job_id}/artifacts"), &[]).await
}

pub(super) fn parse(document: &Value) -> Result<Listed, ClientError> {
    Listed::deserialize(document).map_err(|error| ClientError::Refused {
        sentence: format!("the server's list of artifacts can't be read: {}.", events::json::problem(&error)),
    })
}

fn table(files: &[Listing]) -> String {
    let columns = [("PATH", Align::Left), ("SIZE", Align::Right), ("SHA256", Align::Left)];
    let row = |file: &Listing| {
        let digest = human::plain(&file.sha256).chars().take(SHOWN_DIGEST).collect();
        [human::plain(file.path.as_str()), human::size(file.bytes), digest]
    };
    render(columns, files.iter().map(row))
}

fn not_kept(listed: &Listed) -> Vec<String> {
    let shown = listed.skipped.iter().take(SHOWN_SKIPPED);
    let mut told: Vec<String> = shown
        .map(|passed| format!("not kept: {}: {}", human::line(&passed.path, 200), human::line(&passed.reason, 200)))
        .collect();
    let more = listed.skipped_count.saturating_sub(told.len() as u64);
    if more > 0 {
        told.push(format!("not kept: {more} more; --json names those of which the server keeps the reason"));
    }
    if listed.left_out_count > 0 {
        told.push(format!("not kept: {} above the limit of files", human::counted(listed.left_out_count, "file")));
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_shown_with_what_is_not_kept() {
        let listed = parse(&json!({
            "artifacts": [{"path": "a/x.png", "bytes": 2048, "sha256": "0123456789abcdef", "url": "/x"}],
            "skipped": [{"path": "l\u{1b}ink", "reason": "a symbolic link"}],
            "skipped_count": 3, "left_out_count": 90_000,
        }))
        .unwrap();
        assert_eq!(table(&listed.artifacts), "PATH        SIZE  SHA256\na/x.png  2.0 KiB  0123456789ab");
        let told = not_kept(&listed);
        assert_eq!(told[0], "not kept: link: a symbolic link");
        assert!(told[1].contains("2 more") && told[2].contains("90000 files above the limit"), "{told:?}");
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for path in ["../x", "/etc/passwd", "a/../../x", ""] {
            let list = json!({"artifacts": [{"path": path, "bytes": 1, "sha256": ""}]});
            assert!(parse(&list).is_err(), "{path}");
        }
    }
}
