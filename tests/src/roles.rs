//! Roles apart: an API and workers as processes of their own, on a Redis of the test's own.

use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::board::{ALICE, Process, command};
use crate::client::Client;
use crate::redis_server::{Persistence, RedisServer};

/// What the roles of one deployment share.
#[derive(Debug)]
pub struct Roles {
    /// Their Redis.
    pub redis: RedisServer,
    /// Their storage.
    pub data: TempDir,
    /// How long their workers may be silent.
    pub lease: &'static str,
}

impl Roles {
    /// A Redis without a schema, and an empty directory.
    ///
    /// # Panics
    /// If there is no temporary directory.
    pub async fn new() -> Self {
        let data = tempfile::Builder::new().prefix("lb-roles-").tempdir().expect("a temporary directory");
        Self { redis: RedisServer::start(Persistence::Always).await, data, lease: "1s" }
    }

    /// A command of theirs.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut role = command(self.data.path());
        role.args(arguments).env("REDIS_URL", self.redis.url()).env("API_TOKENS", format!("alice:{ALICE}"));
        role
    }

    /// Migrates and starts the API, and gives it with a client of Alice's.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn api(&self) -> (Process, Client) {
        let migrated = self.command(&["migrate", "--json", "--lease", self.lease]).output().expect("the binary runs");
        assert!(migrated.status.success(), "{migrated:?}");
        let mut api = self.command(&["api", "--json", "--listen", "127.0.0.1:0"]);
        api.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut api = Process::spawn(api);
        let server: Value = serde_json::from_str(&api.line()).expect("its address");
        let client = Client::new(server["address"].as_str().expect("an address"), ALICE);
        (api, client)
    }

    /// Starts a worker of this name with a work root of its own, as on another machine.
    #[must_use]
    pub fn worker(&self, name: &str, lease: &str) -> Process {
        let mut worker = self.command(&["worker", "--worker-name", name, "--lease", lease]);
        worker.args(["--reconcile-interval", "200ms"]);
        worker.arg("--work-root").arg(self.data.path().join(name)).stdout(Stdio::null()).stderr(Stdio::null());
        Process::spawn(worker)
    }
}
