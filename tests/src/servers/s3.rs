//! An S3 server of a test's own.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use adapters::object::{S3Settings, StorageUrl, Store};
use nix::unistd::Pid;
use reqwest::Method;
use tempfile::TempDir;

use crate::board::repository;
use crate::client::http_client;
use crate::wait::until;

/// How long the server may take to answer for the first time.
const START: Duration = Duration::from_secs(30);
/// The bucket that every server has.
pub const BUCKET: &str = "board";

/// An S3 server that keeps all in memory, with the bucket [`BUCKET`]. It ends when this is dropped.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    port: u16,
    folder: TempDir,
    http: reqwest::Client,
}

impl S3Server {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("lb-s3-").tempdir().expect("a temporary directory");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let log = File::create(folder.path().join("server.log")).expect("a log");
        // `setpriv` asks the kernel to end it with this process, however that ends, and becomes it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program()).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        // Few names a page: a listing that forgets the next page is noticed.
        command.env("MOTO_S3_DEFAULT_MAX_KEYS", "5");
        command.stdout(Stdio::null()).stderr(log).process_group(0);
        let child = command.spawn().expect("the S3 server is installed: `make test` does it");
        let mut server = Self { child, port, folder, http: http_client() };
        until("the S3 server answers", START, async || {
            let ended = server.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "the S3 server ended: {}", server.log());
            let answer = server.http.put(format!("{}/{BUCKET}", server.address())).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        server
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    ///
    /// # Panics
    /// Never: process ids fit.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"))
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// A part of its bucket, as the adapters use it.
    ///
    /// # Panics
    /// If the settings can't be used.
    #[must_use]
    pub fn store(&self, prefix: &str) -> Store {
        store_at(&self.address(), prefix)
    }

    /// The keys of all objects below a prefix, by the server's own listing.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let query = [("list-type", "2"), ("prefix", prefix), ("start-after", &after)];
            let page = self.http.request(Method::GET, format!("{}/{BUCKET}", self.address())).query(&query);
            let page = page.send().await.expect("an answer").text().await.expect("a text");
            let found: Vec<&str> = page.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
            let Some(last) = found.last() else { return keys };
            (*last).clone_into(&mut after);
            keys.extend(found.into_iter().map(str::to_owned));
        }
    }

    /// How many uploads in parts are begun and not finished.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn unfinished(&self) -> usize {
        let page = self.http.get(format!("{}/{BUCKET}?uploads", self.address())).send().await.expect("an answer");
        page.text().await.expect("a text").matches("<UploadId>").count()
    }
}

/// A part of the bucket of the server at an address.
///
/// # Panics
/// If the settings can't be used.
#[must_use]
pub fn store_at(address: &str, prefix: &str) -> Store {
    store_trusting(address, prefix, None)
}

/// The same with this authority beside the system's, if one is given.
///
/// # Panics
/// If the settings can't be used.
#[must_use]
pub fn store_trusting(address: &str, prefix: &str, authority: Option<&Path>) -> Store {
    let Ok(StorageUrl::Bucket(bucket)) = format!("s3://{BUCKET}/{prefix}").parse() else { panic!("no bucket") };
    let authority = authority.map(|path| ("AWS_CA_BUNDLE", path.display().to_string()));
    let variables = variables(address).into_iter().chain(authority).map(|(name, value)| (name.to_owned(), value));
    let settings = S3Settings::of(variables, |path| std::fs::read(path)).expect("settings");
    Store::open(&bucket, &settings).expect("a client")
}

/// The variables by which a role finds the server at an address.
#[must_use]
pub fn variables(address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", address.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "s3-secret-of-the-test".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

fn program() -> PathBuf {
    repository().join("target/tools-venv/bin/moto_server")
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It is this test's own, and nothing of it is kept.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
