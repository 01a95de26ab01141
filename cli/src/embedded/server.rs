//! Starting, watching and stopping the private Redis.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use adapters::ids::random_hex;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{GUARD_COMMAND, socket};
use crate::data_dir::{redis_url_file, write_private};

/// How long Redis may take to load its append-only file before it is said to be slow, and how often it is asked.
const LOADING_IS_SLOW: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// How long it may take to end when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How many lines of its log are shown when it ends by itself.
const LOG_LINES: usize = 5;

/// A Redis that belongs to this process.
#[derive(Debug)]
pub(crate) struct PrivateRedis {
    url: String,
    pid: Pid,
    log: PathBuf,
    socket: PathBuf,
    ended: oneshot::Receiver<ExitStatus>,
}

impl PrivateRedis {
    /// Starts one in `<data>/redis` and waits until it has loaded what is there.
    ///
    /// # Errors
    /// If no server is installed, or it ends at once; the error holds the last lines of its log.
    pub(crate) async fn start(data: &Path) -> Result<Self> {
        let server = find_server(std::env::var_os("PATH").as_deref()).context(
            "neither redis-server nor valkey-server is on PATH: `apt-get install redis-server`, \
             or give REDIS_URL to run against a Redis of your own",
        )?;
        let folder = data.join("redis");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("the folder {} can't be made", folder.display()))?;
        let socket = socket::choose(&folder, &std::env::temp_dir()).context("there is no place for the socket")?;
        let password = random_hex::<32>();
        let url = format!("redis+unix://{}?pass={password}", encode_path(&socket));
        write_private(&redis_url_file(data), format!("{url}\n").as_bytes())?;
        let log = folder.join("redis.log");
        let config = configuration(&folder, &socket, &log, &password);
        let (pid, ended) = spawn(&server, &folder.join("lock"), &log, config).await?;
        let mut redis = Self { url, pid, log, socket, ended };
        redis.wait_until_loaded().await?;
        Ok(redis)
    }

    /// Its address, with the password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it ends by itself, which it should not, and gives the reason.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let status = (&mut self.ended).await.map_or_else(|_| "unknown".to_owned(), |status| status.to_string());
        self.tail_of_log(&status)
    }

    /// Asks it to end, and waits for it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        // It may have ended by itself.
        let _ = kill(self.pid, Signal::SIGTERM);
        if timeout(STOP_WITHIN, &mut self.ended).await.is_err() {
            tracing::warn!("the private Redis does not end; it is killed");
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        self.remove_socket_folder();
        Ok(())
    }

    async fn wait_until_loaded(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut told = false;
        loop {
            if let Ok(status) = self.ended.try_recv() {
                return Err(self.tail_of_log(&status.to_string()));
            }
            // The version of the schema is the cheapest thing to ask for that answers only once all is loaded.
            if migrations::version(&self.url, &projections_keys()).await.is_ok() {
                return Ok(());
            }
            if !told && began.elapsed() > LOADING_IS_SLOW {
                tracing::info!(log = %self.log.display(), "the private Redis is still loading its data");
                told = true;
            }
            sleep(POLL).await;
        }
    }

    fn tail_of_log(&self, status: &str) -> anyhow::Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        lines.reverse();
        anyhow::anyhow!("the private Redis ended ({status}). The end of {}:\n{}", self.log.display(), lines.join("\n"))
    }

    /// A socket that had to be put elsewhere leaves nothing behind.
    fn remove_socket_folder(&self) {
        if let (Some(folder), Some(near)) = (self.socket.parent(), self.log.parent())
            && folder != near
            && let Err(error) = fs::remove_dir_all(folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "the socket's folder could not be removed");
        }
    }
}

fn projections_keys() -> projections::Keyspace {
    projections::Keyspace::default()
}

/// The first server on PATH.
fn find_server(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path?).collect();
    let mut candidates =
        ["redis-server", "valkey-server"].into_iter().flat_map(|name| folders.iter().map(move |f| f.join(name)));
    candidates.find(|file| fs::metadata(file).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0))
}

/// The whole configuration. It goes in by stdin: an argument list could be read by anybody.
fn configuration(folder: &Path, socket: &Path, log: &Path, password: &str) -> String {
    let quoted = |path: &Path| format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""));
    [
        "port 0".to_owned(),
        format!("unixsocket {}", quoted(socket)),
        "unixsocketperm 700".to_owned(),
        format!("requirepass {password}"),
        format!("dir {}", quoted(folder)),
        format!("logfile {}", quoted(log)),
        "daemonize no".to_owned(),
        // Nothing that was acknowledged is lost when Redis or the machine dies.
        "appendonly yes".to_owned(),
        "appendfsync always".to_owned(),
        "save \"\"".to_owned(),
        "maxmemory-policy noeviction".to_owned(),
        // A status hash stays compact although its config and error texts are longer than the default 64 bytes.
        "hash-max-listpack-value 1024".to_owned(),
    ]
    .join("\n")
}

/// Starts the guard in a process group of its own, so that a Ctrl-C for `up` does not reach it.
///
/// The kernel tells the child of the death of the *thread* that started it, so that thread waits for the child.
async fn spawn(server: &Path, lock: &Path, log: &Path, config: String) -> Result<(Pid, oneshot::Receiver<ExitStatus>)> {
    let output = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([GUARD_COMMAND, "--parent", &std::process::id().to_string()])
        .arg("--lock")
        .arg(lock)
        .arg("--server")
        .arg(server)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0);
    let (started, start) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let run = move || {
        let child = command.spawn().and_then(|mut child| {
            let mut stdin = child.stdin.take().ok_or_else(|| std::io::Error::other("no stdin"))?;
            stdin.write_all(config.as_bytes())?;
            Ok(child)
        });
        match child {
            Ok(child) => watch(child, started, end),
            // `up` waits for one of the two.
            Err(error) => drop(started.send(Err(error))),
        }
    };
    thread::Builder::new().name("private-redis".to_owned()).spawn(run)?;
    let pid = start.await.context("the thread of the private Redis ended")?.context("the private Redis can't start")?;
    Ok((pid, ended))
}

fn watch(mut child: Child, started: oneshot::Sender<std::io::Result<Pid>>, end: oneshot::Sender<ExitStatus>) {
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(std::io::Error::other);
    let _ = started.send(pid);
    if let Ok(status) = child.wait() {
        let _ = end.send(status);
    }
}

/// A path as it stands in a URL.
fn encode_path(path: &Path) -> String {
    let escape = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).iter().map(escape).collect()
}

/// Refuses a data directory whose name Redis's configuration can't hold.
pub(crate) fn check_path(data: &Path) -> Result<()> {
    if data.to_string_lossy().chars().any(char::is_control) || data.to_str().is_none() {
        bail!(
            "the data directory {data:?} can't be used: its path must be UTF-8 without control characters. Rename it, \
             or give another by --data or DATA_DIR"
        );
    }
    Ok(())
}
