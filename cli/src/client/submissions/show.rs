//! `leadersboard submissions show`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::{Submission, parse};
use crate::client::http::error::ClientError;
use crate::client::http::request::Client;
use crate::client::output::human;
use crate::client::output::print::{Output, print_document, print_text};
use crate::client::output::table::{Align, render};

/// What the server adds to a client's own metadata; shown above it.
const OURS: [&str; 4] = ["user_id", "entrypoint", "config_file", "files"];

#[derive(Debug, Deserialize)]
struct Whole {
    #[serde(flatten)]
    head: Submission,
    /// Null if the server can't read it.
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct File {
    name: String,
    size: u64,
    sha256: String,
}

/// Shows one submission: where it stands, its files, what its author said of it.
pub(super) async fn run(client: &Client, id: &str, output: Output) -> Result<(), ClientError> {
    let document = client.document(&format!("/submissions/{id}"), &[]).await?;
    match output {
        Output::Json => print_document(&document),
        Output::Human => print_text(&report(&document.value)?),
    }
}

pub(super) fn report(document: &Value) -> Result<String, ClientError> {
    let Whole { head, metadata } = parse(document)?;
    let metadata = metadata.unwrap_or_default();
    let fields = [
        ("submission", human::plain(&head.submission_id)),
        ("user", human::plain(&head.user_id)),
        ("entrypoint", human::plain(&head.entrypoint)),
        ("config file", human::plain(&head.config_file)),
        ("size", human::size(head.bytes)),
        ("digest", human::plain(&head.digest)),
        ("created", format!("{} UTC ({})", human::time(&head.created_at), human::ago(&head.created_at))),
    ];
    let rows = fields.map(|(name, value)| [format!("{name}:"), value]);
    let mut parts = vec![render([("", Align::Left), ("", Align::Left)], rows)];
    if let Some(files) = metadata.get("files") {
        let files: Vec<File> = parse(files)?;
        let row = |file: File| [human::plain(&file.name), human::size(file.size), human::plain(&file.sha256)];
        let columns = [("FILE", Align::Left), ("SIZE", Align::Right), ("SHA-256", Align::Left)];
        parts.push(render(columns, files.into_iter().map(row)));
    }
    let theirs: Vec<_> = metadata.iter().filter(|(key, _)| !OURS.contains(&key.as_str())).collect();
    if !theirs.is_empty() {
        let rows = theirs.iter().map(|(key, value)| [human::plain(key), human::line(&human::value(value), 200)]);
        parts.push(render([("METADATA", Align::Left), ("VALUE", Align::Left)], rows));
    }
    Ok(parts.join("\n\n"))
}
