//! Sends a package: one multipart request, streamed from disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, Stream};
use indicatif::ProgressBar;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::pack::{BUNDLE_NAME, Package};
use crate::client::http::error::ClientError;
use crate::client::http::request::Client;
use crate::client::http::transfer::Progress;
use crate::client::output::screen;

/// So small that a slow network is not taken for one that stands still.
const PIECE_BYTES: usize = 64 * 1024;

/// The answer of `POST /submissions`.
#[derive(Debug, Deserialize)]
pub(crate) struct Uploaded {
    pub(crate) submission_id: String,
    /// What the server did to the archives that their sender may not expect.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// Sends all files of the package with a progress bar; the memory used does not depend on their size.
pub(crate) async fn send(client: &Client, package: Package, metadata: Option<String>) -> Result<Uploaded, ClientError> {
    let bar = Sending { bar: screen::byte_bar("sending", package.size()), progress: Arc::new(Progress::new()) };
    // The fields come before the files, so that a server can judge the files as they arrive.
    let mut form = Form::new().text("entrypoint", package.entrypoint).text("config_file", package.config_file);
    if let Some(metadata) = metadata {
        form = form.text("metadata", metadata);
    }
    for entry in package.loose {
        let file = open(&entry.file).await?;
        form = form.part("files", part(entry.path, file, entry.size, &bar));
    }
    if let Some(bundle) = package.bundle {
        form = form.part("files", part(BUNDLE_NAME.to_owned(), File::from_std(bundle.file), bundle.size, &bar));
    }
    client.upload("/submissions", form, &bar.progress).await
}

/// What is seen of an upload.
struct Sending {
    bar: screen::Progress,
    progress: Arc<Progress>,
}

async fn open(path: &Path) -> Result<File, ClientError> {
    File::open(path).await.map_err(|error| ClientError::usage(format!("{}: {error}.", path.display())))
}

fn part(name: String, file: File, size: u64, sending: &Sending) -> Part {
    let (bar, progress) = (ProgressBar::clone(&sending.bar), Arc::clone(&sending.progress));
    let seen = move |bytes: usize| {
        bar.inc(bytes as u64);
        progress.note();
    };
    let content = content(name.clone(), file, size, seen);
    Part::stream_with_length(Body::wrap_stream(content), size).file_name(name)
}

/// Exactly the announced bytes of a file; a file that became shorter ends the request with an error.
fn content(
    name: String,
    file: File,
    size: u64,
    seen: impl Fn(usize) + Clone + Send,
) -> impl Stream<Item = io::Result<Vec<u8>>> {
    stream::try_unfold((file, size), move |(mut file, left)| {
        let name = name.clone();
        let seen = seen.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let piece = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let mut bytes = vec![0; piece];
            let read = file.read(&mut bytes).await?;
            if read == 0 {
                return Err(io::Error::other(format!("{name} became shorter while it was sent")));
            }
            bytes.truncate(read);
            seen(read);
            Ok(Some((bytes, (file, left - read as u64))))
        }
    })
}
