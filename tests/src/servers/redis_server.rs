//! A `redis-server` of a test's own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use projections::Keyspace;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::preload::Environment;
use crate::wait::until;

/// How a server keeps what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Not at all.
    Off,
    /// An append-only file, synced every second.
    EverySecond,
    /// An append-only file, synced before every answer.
    Always,
}

/// A `redis-server` on a unix socket in a directory of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    folder: TempDir,
    persistence: Persistence,
    environment: Environment,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not come up.
    pub async fn start(persistence: Persistence) -> Self {
        Self::start_with(persistence, vec![]).await
    }

    /// Starts one with these variables in its environment, then and whenever it is started again.
    ///
    /// # Panics
    /// If `redis-server` is not installed or does not come up.
    pub async fn start_with(persistence: Persistence, environment: Environment) -> Self {
        let folder = tempfile::Builder::new().prefix("lb-redis-").tempdir().expect("a temporary directory");
        let child = spawn(folder.path(), persistence, &environment);
        let server = Self { child, folder, persistence, environment };
        server.answers().await;
        server
    }

    /// Kills it as a crash would, and starts it again on the same data and address.
    pub async fn crash_and_restart(mut self) -> Self {
        self.restart().await;
        self
    }

    /// Kills it as a crash would, if it still runs, and starts it again on the same data and address.
    pub async fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(self.folder.path(), self.persistence, &self.environment);
        self.answers().await;
    }

    /// Kills it, cuts so many bytes off the end of its append-only file, and starts it again on what is left.
    ///
    /// # Panics
    /// If it has no append-only file.
    pub async fn restart_without(&mut self, bytes: u64) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let files = std::fs::read_dir(self.folder().join("appendonlydir")).expect("an append-only file").flatten();
        let newest = files.map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max();
        let file = std::fs::File::options().write(true).open(newest.expect("an append-only file")).expect("it");
        let len = file.metadata().expect("it").len();
        file.set_len(len.saturating_sub(bytes)).expect("it can be cut");
        self.restart().await;
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    async fn answers(&self) {
        let url = self.url();
        until("redis-server answers", Duration::from_secs(10), async || {
            let mut connection = Client::open(url.as_str()).ok()?.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }

    /// Its process.
    ///
    /// # Panics
    /// Never: process ids fit.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process ids fit"))
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The path of its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("redis.sock")
    }

    /// Its directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(&self.url()).await
    }
}

fn spawn(folder: &Path, persistence: Persistence, environment: &Environment) -> Child {
    // `setpriv` asks the kernel to end it with this process, however that ends, and becomes it.
    let mut command = Command::new("setpriv");
    command
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(folder.join("redis.sock"))
        .arg("--dir")
        .arg(folder)
        .args(["--hash-max-listpack-value", "1024"])
        .args(match persistence {
            Persistence::Off => &["--appendonly", "no"][..],
            Persistence::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Persistence::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("redis-server is installed: `make test` does it")
}

/// A connection to a Redis, without a bound on its answers.
///
/// # Panics
/// If it does not answer.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = Client::open(url).expect("a valid address");
    client.get_multiplexed_async_connection_with_config(&config).await.expect("Redis answers")
}

/// All that a Redis holds, by key.
pub type Dump = Vec<(String, Vec<u8>, i64)>;

/// Brings an empty Redis to the current key schema.
///
/// # Panics
/// If it does not answer, or is not empty.
pub async fn migrate(url: &str, keys: &Keyspace) {
    let rebuild = async || Err("it is not empty".to_owned());
    migrations::migrate(url, keys, rebuild).await.expect("a migration");
}

/// All that a Redis holds now.
///
/// # Panics
/// If it does not answer.
pub async fn dump(redis: &mut MultiplexedConnection) -> Dump {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(redis).await.expect("the keys");
    let mut dump = Vec::new();
    for key in keys {
        let mut read = redis::pipe();
        read.cmd("DUMP").arg(&key).cmd("PEXPIRETIME").arg(&key);
        let (value, expires_at): (_, i64) = read.query_async(redis).await.expect("a dump");
        dump.push((key, value, expires_at.max(0)));
    }
    dump
}

/// Takes every key back to what it was at `dump`, as a Redis does whose newest writes are lost.
///
/// # Panics
/// If it does not answer.
pub async fn come_back_as_at(redis: &mut MultiplexedConnection, dump: &Dump) {
    let mut restore = redis::pipe();
    restore.atomic().cmd("FLUSHALL");
    for (key, value, expires_at) in dump {
        // An expiry of 0 is none.
        restore.cmd("RESTORE").arg(key).arg(expires_at).arg(value).arg("ABSTTL");
    }
    let _: redis::Value = restore.query_async(redis).await.expect("restored");
}

/// Cuts every connection but this one.
///
/// # Panics
/// If it does not answer.
pub async fn cut_all_others(redis: &mut MultiplexedConnection) {
    let mut cut = redis::cmd("CLIENT");
    let _: u64 = cut.arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query_async(redis).await.expect("cut");
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It is this test's own, and nothing of it is kept.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
