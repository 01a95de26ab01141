//! Sends a package: one multipart request, streamed from disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use indicatif::ProgressBar;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use tokio::time::Instant;

use super::pack::{BUNDLE_NAME, Package};
use crate::client::http::error::ClientError;
use crate::client::http::pace::retry_delay;
use crate::client::http::request::Client;
use crate::client::http::transfer::Progress;
use crate::client::output::{human, screen};

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

/// How often an upload is sent again that broke or was refused for the moment.
const RETRIES: u32 = 5;

/// The longest time that a server may ask for before a retry. An upload that must wait longer has failed.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// How long retries go on. A try that has begun is not cut.
const RETRIED_FOR: Duration = Duration::from_mins(5);

/// Sends all files of the package with a progress bar; the memory used does not depend on their size.
///
/// If the connection breaks, or the server answers "not now", it sends them again, under the same key: the server keeps
/// nothing of a broken upload, and makes one submission of whatever it gets under one key.
pub(crate) async fn send(
    client: &Client,
    package: &Package,
    metadata: Option<&str>,
    key: &str,
) -> Result<Uploaded, ClientError> {
    let mut failed_since: Option<Instant> = None;
    let mut tries = 0;
    loop {
        tries += 1;
        let sending = Sending::of(package);
        let form = form(package, metadata, &sending)?;
        let answer = client.upload("/submissions", form, key, &sending.progress).await;
        let has_begun = sending.progress.has_begun();
        drop(sending);
        let (sentence, retry_after) = match answer {
            Err(ClientError::Away { sentence, retry_after }) => (sentence, retry_after),
            other => return other,
        };
        // A server that never answered may not be there at all.
        let was_there = has_begun || retry_after.is_some() || failed_since.is_some();
        let failing_for = failed_since.get_or_insert_with(Instant::now).elapsed();
        let Some(pause) = pause(tries, retry_after, failing_for).filter(|_| was_there) else {
            let failed = ClientError::Away { sentence, retry_after };
            return Err(if tries == 1 { failed } else { failed.with_advice(&given_up(tries)) });
        };
        screen::note(&format!(
            "the upload failed: {} Sending it again in {} (try {} of {}).",
            human::plain(&sentence),
            human::duration(pause),
            tries + 1,
            RETRIES + 1,
        ));
        let spinner = screen::spinner("waiting for the server");
        tokio::time::sleep(pause).await;
        drop(spinner);
    }
}

/// How long to wait after so many tries, of which the first failed so long ago; `None` if that was the last.
fn pause(tries: u32, retry_after: Option<Duration>, failing_for: Duration) -> Option<Duration> {
    let pause = retry_delay(tries - 1).max(retry_after.unwrap_or_default());
    (tries <= RETRIES && pause <= LONGEST_WAIT && failing_for + pause <= RETRIED_FOR).then_some(pause)
}

fn given_up(tries: u32) -> String {
    format!("Gave up after {tries} tries. Whether the server kept the files: leadersboard submissions list")
}

fn form(package: &Package, metadata: Option<&str>, sending: &Sending) -> Result<Form, ClientError> {
    // The fields come before the files, so that a server can judge the files as they arrive.
    let mut form =
        Form::new().text("entrypoint", package.entrypoint.clone()).text("config_file", package.config_file.clone());
    if let Some(metadata) = metadata {
        form = form.text("metadata", metadata.to_owned());
    }
    for entry in &package.loose {
        let file = open(&entry.file)?;
        form = form.part("files", part(entry.path.clone(), file, entry.size, sending));
    }
    if let Some(bundle) = &package.bundle {
        let file = bundle.file.try_clone()?;
        form = form.part("files", part(BUNDLE_NAME.to_owned(), file, bundle.size, sending));
    }
    Ok(form)
}

/// What is seen of one try of an upload.
struct Sending {
    bar: screen::Progress,
    progress: Arc<Progress>,
}

impl Sending {
    fn of(package: &Package) -> Self {
        Self { bar: screen::byte_bar("sending", package.size()), progress: Arc::new(Progress::new()) }
    }
}

fn open(path: &Path) -> Result<File, ClientError> {
    File::open(path).map_err(|error| ClientError::usage(format!("{}: {error}.", path.display())))
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
///
/// They are read at their offsets: what an earlier try left of a read does not move this one.
fn content(
    name: String,
    file: File,
    size: u64,
    seen: impl Fn(usize) + Clone + Send,
) -> impl Stream<Item = io::Result<Vec<u8>>> {
    let file = Arc::new(file);
    stream::try_unfold(0, move |offset: u64| {
        let (name, file, seen) = (name.clone(), Arc::clone(&file), seen.clone());
        async move {
            if offset == size {
                return Ok(None);
            }
            let piece = usize::try_from(size - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; piece];
                let read = file.read_at(&mut bytes, offset)?;
                bytes.truncate(read);
                io::Result::Ok(bytes)
            });
            let bytes = read.await.map_err(io::Error::other)??;
            if bytes.is_empty() {
                return Err(io::Error::other(format!("{name} became shorter while it was sent")));
            }
            seen(bytes.len());
            let next = offset + bytes.len() as u64;
            Ok(Some((bytes, next)))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use serde_json::json;

    use super::super::pack::{Limits, Plan};
    use super::*;
    use crate::client::http::test_server::{Answer, Request, TestServer};

    /// A folder with a program, a config and something for the archive.
    fn package() -> (tempfile::TempDir, Package) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("main.py", "print(1)"), ("config.yaml", "a: 1"), ("data.csv", "1,2,3")] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let plan = Plan {
            folder: folder.path().to_owned(),
            entrypoint: "main.py".to_owned(),
            config_file: "config.yaml".to_owned(),
            server_data: folder.path().join("none"),
            limits: Limits::default(),
        };
        let package = Package::build(&plan, &AtomicBool::new(false)).unwrap();
        (folder, package)
    }

    async fn sent(
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> (Result<Uploaded, ClientError>, Vec<Request>) {
        let asked = AtomicUsize::new(0);
        let server = TestServer::start(move |_| answer(asked.fetch_add(1, Ordering::Relaxed))).await;
        let (_folder, package) = package();
        let answer = send(&server.client(), &package, Some("{}"), "one-key").await;
        (answer, server.requests())
    }

    /// The content of a form, whatever its boundary is.
    fn content(request: &Request) -> String {
        let boundary = request.body.lines().next().expect("a boundary").to_owned();
        request.body.replace(&boundary, "")
    }

    #[tokio::test]
    async fn what_was_refused_for_the_moment_is_sent_again_whole_and_under_the_same_key() {
        for status in [503, 408, 502] {
            let (answer, requests) = sent(move |asked| match asked {
                0 => (status, "", json!({ "detail": "not now" }).to_string()),
                _ => (201, "", json!({ "submission_id": "s" }).to_string()),
            })
            .await;
            assert_eq!(answer.unwrap().submission_id, "s", "{status}");
            assert_eq!(requests.len(), 2, "{status}");
            assert!(requests.iter().all(|request| request.head.contains("idempotency-key: one-key\r\n")));
            let contents: BTreeSet<String> = requests.iter().map(content).collect();
            assert_eq!(contents.len(), 1, "{contents:?}");
            assert!(contents.iter().all(|content| content.contains("bundle.tar.gz") && content.contains("print(1)")));
        }
    }

    #[tokio::test]
    async fn a_refusal_and_a_wait_that_is_too_long_are_told_at_once() {
        for (status, headers, told) in [
            (400, "", "error: no."),
            (409, "", "error: no."),
            (413, "", "error: no."),
            (429, "retry-after: 1\r\n", "error: no. Try again in 1 s."),
            (503, "retry-after: 3600\r\n", "error: no. Try again in 1 h."),
        ] {
            let (answer, requests) = sent(move |_| (status, headers, json!({ "detail": "no" }).to_string())).await;
            assert_eq!((answer.unwrap_err().sentence().as_deref(), requests.len()), (Some(told), 1), "{status}");
        }
    }

    #[test]
    fn retries_are_bounded_and_none_comes_earlier_than_the_server_asks() {
        let seconds = Duration::from_secs;
        let waits: Vec<_> = (1..=RETRIES + 1).map(|tries| pause(tries, None, seconds(0))).collect();
        let wanted = [500, 1_000, 2_000, 4_000, 8_000].map(|ms| Some(Duration::from_millis(ms)));
        assert_eq!(waits, [&wanted[..], &[None]].concat());
        assert_eq!(pause(1, Some(seconds(60)), seconds(0)), Some(seconds(60)));
        assert_eq!(pause(5, Some(seconds(1)), seconds(0)), Some(seconds(8)));
        assert_eq!(pause(1, Some(seconds(121)), seconds(0)), None, "longer than anybody waits");
        assert_eq!(pause(3, Some(seconds(60)), seconds(250)), None, "in all, too");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_at_once() {
        let (_folder, package) = package();
        let client =
            Client::new(&"http://127.0.0.1:1".parse().unwrap(), "t", &crate::client::trust::Trust::Machine).unwrap();
        let begun = Instant::now();
        let sentence = send(&client, &package, None, "key").await.unwrap_err().sentence().unwrap();
        assert!(sentence.starts_with("error: no connection to ") && !sentence.contains("Gave up"), "{sentence}");
        assert!(begun.elapsed() < retry_delay(0));
    }
}
