//! A real `MLflow`, and what its own Python client finds there.
//!
//! The server takes more than ten seconds to come up and is shared: every test has an experiment of its own. As each
//! test may be a process of its own, the server is the child of `tests/mlflow/shared_server.py`, which outlives the
//! test that needed it first and ends with the program that runs the tests, or when it was idle for long.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::getppid;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::board::repository;
use crate::client::http_client;
use crate::read_back::ReadBack;
use crate::wait::until;

/// How long the server may take to come up on a busy machine.
const START: Duration = Duration::from_mins(2);

/// An experiment of a test's own on the shared server.
#[derive(Debug)]
pub struct Mlflow {
    http: reqwest::Client,
    address: String,
    experiment: String,
    /// Held shared: as long as anybody has it, the server stays.
    _users: File,
}

impl Mlflow {
    /// The shared server, started if need be, and the name of an experiment that is not there yet.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn shared() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let folder = repository().join("target/mlflow");
        std::fs::create_dir_all(&folder).expect("the target directory is writable");
        let users = locked(&folder.join("users"), File::lock_shared).await;
        let _starting = locked(&folder.join("start"), File::lock).await;
        let http = http_client();
        let running = match told(&folder) {
            Some(address) => answers(&http, &address).await.then_some(address),
            None => None,
        };
        let address = match running {
            Some(address) => address,
            None => start(&folder).await,
        };
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // A process id comes again some day, but not while the server lives.
        Self { http, address, experiment: format!("test {process}/{number}"), _users: users }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of this test's experiment.
    #[must_use]
    pub fn experiment(&self) -> &str {
        &self.experiment
    }

    /// Asks the API for a call such as `runs/get`, and gives the status and the answer.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn get(&self, call: &str, query: &[(&str, &str)]) -> (StatusCode, Value) {
        self.send(self.http.request(Method::GET, self.path(call)).query(query)).await
    }

    /// Posts to the API.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn post(&self, call: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.http.request(Method::POST, self.path(call)).json(body)).await
    }

    /// Makes the experiment of this test, and gives its id.
    ///
    /// # Panics
    /// If it was there.
    pub async fn create_experiment(&self) -> String {
        let (status, made) = self.post("experiments/create", &json!({ "name": self.experiment })).await;
        assert_eq!(status, StatusCode::OK, "{made}");
        made["experiment_id"].as_str().expect("an id").to_owned()
    }

    /// The id of the experiment of this test and whether it is active or deleted; nothing if it was never made.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn find_experiment(&self) -> Option<(String, String)> {
        let (status, found) = self.get("experiments/get-by-name", &[("experiment_name", &self.experiment)]).await;
        let text = |key: &str| found["experiment"][key].as_str().expect("a text").to_owned();
        (status == StatusCode::OK).then(|| (text("experiment_id"), text("lifecycle_stage")))
    }

    /// All runs of the experiment as `MLflow`'s REST API has them, deleted ones too, without their files.
    ///
    /// # Panics
    /// If it refuses to tell.
    pub async fn runs(&self) -> Vec<Value> {
        let Some((experiment, _)) = self.find_experiment().await else { return vec![] };
        let (mut runs, mut page) = (Vec::new(), Value::Null);
        loop {
            let mut query = json!({ "experiment_ids": [experiment], "run_view_type": "ALL", "max_results": 1_000 });
            if !page.is_null() {
                query["page_token"] = page;
            }
            let (status, found) = self.post("runs/search", &query).await;
            assert_eq!(status, StatusCode::OK, "{found}");
            runs.extend(found["runs"].as_array().into_iter().flatten().cloned());
            page = found["next_page_token"].clone();
            if page.as_str().is_none_or(str::is_empty) {
                return runs;
            }
        }
    }

    /// The files of a run and their sizes, as the REST API lists them.
    ///
    /// # Panics
    /// If it refuses to tell.
    pub async fn files(&self, run: &str) -> BTreeMap<String, u64> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let (status, list) = self.get("artifacts/list", &[("run_id", run), ("path", &folder)]).await;
            assert_eq!(status, StatusCode::OK, "{list}");
            for file in list["files"].as_array().into_iter().flatten() {
                let path = file["path"].as_str().expect("a path").to_owned();
                match file["file_size"].as_u64() {
                    Some(bytes) if file["is_dir"] == false => drop(found.insert(path, bytes)),
                    _ => folders.push(path),
                }
            }
        }
        found
    }

    /// All of the experiment as `MLflow`'s own Python client has it. It takes some seconds.
    ///
    /// # Panics
    /// If the client fails.
    pub async fn read_back(&self) -> ReadBack {
        let mut reader = tokio::process::Command::new(python());
        reader.arg(script("read_back.py")).arg(&self.address).arg(&self.experiment).env_clear();
        reader.env("MLFLOW_DISABLE_TELEMETRY", "true").env("DO_NOT_TRACK", "true").kill_on_drop(true);
        let read = reader.output().await.expect("`scripts/bootstrap.sh mlflow-venv` comes first: `make test` does it");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        ReadBack::of(serde_json::from_slice(&read.stdout).expect("JSON"))
    }

    fn path(&self, call: &str) -> String {
        format!("{}/api/2.0/mlflow/{call}", self.address)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.expect("an answer of MLflow");
        let status = answer.status();
        let text = answer.text().await.expect("an answer of MLflow");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// The interpreter of the environment that has `MLflow`.
#[must_use]
pub fn python() -> PathBuf {
    repository().join("target/mlflow-venv/bin/python")
}

/// A program of `tests/mlflow`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    repository().join("tests/mlflow").join(name)
}

async fn locked(path: &Path, lock: fn(&File) -> std::io::Result<()>) -> File {
    let file = File::options().create(true).append(true).open(path).expect("the target directory is writable");
    let lock = tokio::task::spawn_blocking(move || lock(&file).map(|()| file));
    lock.await.expect("it does not panic").expect("a lock")
}

/// Where the server is, as its keeper says.
fn told(folder: &Path) -> Option<String> {
    match std::fs::read_to_string(folder.join("address")) {
        Ok(address) => Some(address),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", folder.display()),
    }
}

/// Whether a server is there: a keeper that was killed could not take its address back.
async fn answers(http: &reqwest::Client, address: &str) -> bool {
    let asked = http.get(format!("{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"));
    asked.send().await.is_ok_and(|answer| answer.status().is_success())
}

async fn start(folder: &Path) -> String {
    let _ = std::fs::remove_file(folder.join("address"));
    let mlflow = python().with_file_name("mlflow");
    assert!(mlflow.is_file(), "`scripts/bootstrap.sh mlflow-venv` comes first: `make test` does it");
    let log = File::create(folder.join("server.log")).expect("the target directory is writable");
    let mut keeper = Command::new(python());
    // Without site packages: it starts at once and needs none.
    keeper.args(["-I", "-S"]).arg(script("shared_server.py")).arg(mlflow).arg(folder).arg(getppid().to_string());
    keeper.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
    let mut keeper = keeper.spawn().expect("Python runs");
    until("MLflow is up", START, async || {
        let ended = keeper.try_wait().expect("it is ours");
        let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        assert!(ended.is_none(), "MLflow did not come up: {}", log());
        told(folder)
    })
    .await
}
