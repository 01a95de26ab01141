//! Roles apart: an API and workers as processes of their own, on a Redis of the test's own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::board::{ALICE, Process, gates, mortal_command};
use crate::client::Client;
use crate::proxy::Proxy;
use crate::redis_server::{Persistence, RedisServer};
use crate::roomy::ROOMY;

/// What the roles of one deployment share.
#[derive(Debug)]
pub struct Roles {
    /// Their Redis.
    pub redis: RedisServer,
    /// The network between them and Redis, where there is one.
    pub network: Option<Proxy>,
    words: LastWords,
    /// Their storage.
    pub data: TempDir,
    /// How long their workers may be silent.
    pub lease: &'static str,
    /// How long the reconciler rests between its rounds.
    pub reconcile_interval: &'static str,
    /// What their users may have in use, as environment variables. Roomy at first; what comes later counts.
    pub limits: Vec<(&'static str, &'static str)>,
}

impl Roles {
    /// A Redis without a schema, and an empty directory.
    ///
    /// # Panics
    /// If there is no temporary directory.
    pub async fn new() -> Self {
        Self::on(RedisServer::start(Persistence::Always).await)
    }

    /// This Redis, which has no schema, and an empty directory.
    ///
    /// # Panics
    /// If there is no temporary directory.
    #[must_use]
    pub fn on(redis: RedisServer) -> Self {
        let data = tempfile::Builder::new().prefix("lb-roles-").tempdir().expect("a temporary directory");
        let words = LastWords(data.path().join("words"));
        Self { redis, network: None, words, data, lease: "1s", reconcile_interval: "200ms", limits: ROOMY.to_vec() }
    }

    /// A Redis without a schema behind a network, and an empty directory.
    ///
    /// # Panics
    /// If there is no temporary directory.
    pub async fn behind_a_network() -> Self {
        let mut roles = Self::new().await;
        roles.network = Some(Proxy::before(&roles.redis.socket()));
        roles
    }

    /// The network between them and Redis.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn network(&self) -> &Proxy {
        self.network.as_ref().expect("these roles are behind a network")
    }

    /// A command of theirs. It ends with the test.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let url = self.network.as_ref().map_or_else(|| self.redis.url(), Proxy::url);
        let mut role = mortal_command(self.data.path());
        role.env("DATASET_ROOT", gates(self.data.path()));
        role.args(arguments).env("REDIS_URL", url).env("API_TOKENS", format!("alice:{ALICE}"));
        role.envs(self.limits.iter().copied());
        role
    }

    /// A path that jobs see too, and can't write.
    #[must_use]
    pub fn gate(&self, name: &str) -> PathBuf {
        gates(self.data.path()).join(name)
    }

    /// Migrates to the default policy with roomy limits, and these settings beside or instead.
    ///
    /// # Panics
    /// If that fails.
    pub fn migrate(&self, settings: &[(&str, &str)]) {
        let mut migrate = self.command(&["migrate", "--json", "--lease", self.lease]);
        let migrated = migrate.envs(settings.iter().copied()).output().expect("the binary runs");
        assert!(migrated.status.success(), "{migrated:?}");
    }

    /// Migrates and starts the API, and gives it with a client of Alice's.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn api(&self) -> (Process, Client) {
        self.migrate(&[]);
        self.api_with("api", &[])
    }

    /// Starts an API of this name with these variables in its environment.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn api_with(&self, name: &str, environment: &[(&str, &str)]) -> (Process, Client) {
        let mut api = self.command(&["api", "--json", "--listen", "127.0.0.1:0"]);
        api.stdout(Stdio::piped()).stderr(self.words.of(name)).envs(environment.iter().copied());
        let mut api = Process::spawn(api);
        let server: Value = serde_json::from_str(&api.line()).expect("its address");
        let client = Client::new(server["address"].as_str().expect("an address"), ALICE);
        (api, client)
    }

    /// What a role wrote to stderr so far.
    #[must_use]
    pub fn words(&self, role: &str) -> String {
        std::fs::read_to_string(self.words.0.join(role)).unwrap_or_default()
    }

    /// Starts a worker of this name with a work root of its own, as on another machine.
    #[must_use]
    pub fn worker(&self, name: &str, lease: &str) -> Process {
        Process::spawn(self.worker_command(name, lease))
    }

    /// The command of such a worker.
    #[must_use]
    pub fn worker_command(&self, name: &str, lease: &str) -> Command {
        let mut worker = self.command(&["worker", "--worker-name", name, "--lease", lease]);
        worker.args(["--reconcile-interval", self.reconcile_interval, "--expire-interval", "200ms"]);
        worker.arg("--work-root").arg(self.data.path().join(name)).stdout(Stdio::null()).stderr(self.words.of(name));
        worker
    }
}

/// What roles write to stderr, in a folder: told when a test fails.
#[derive(Debug)]
struct LastWords(PathBuf);

impl LastWords {
    fn of(&self, role: &str) -> Stdio {
        std::fs::create_dir_all(&self.0).expect("the data directory is writable");
        let file = File::options().create(true).append(true).open(self.0.join(role));
        file.expect("the data directory is writable").into()
    }

    fn tell(file: &Path) {
        let words = std::fs::read_to_string(file).unwrap_or_default();
        eprintln!("--- {} ---\n{words}", file.display());
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let files = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
            files.for_each(|file| Self::tell(&file.path()));
        }
    }
}
