//! Starting the private Redis, starting it again when it ends, and stopping it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use adapters::ids::random_hex;
use anyhow::{Context, Result, bail};
use events::problem::chain;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::restarts::{MOST_FAILURES, Restarts};
use super::running::Running;
use super::socket;
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
    folder: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    config: String,
    running: Option<Running>,
}

impl PrivateRedis {
    /// One in `<data>/redis`, which does not run yet.
    ///
    /// # Errors
    /// If its directory or its socket can't be made.
    pub(crate) fn in_folder_of(data: &Path) -> Result<Self> {
        let folder = data.join("redis");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("the folder {} can't be made", folder.display()))?;
        let socket = socket::choose(&folder, &std::env::temp_dir()).context("there is no place for the socket")?;
        let password = random_hex::<32>();
        let url = format!("redis+unix://{}?pass={password}", encode_path(&socket));
        write_private(&redis_url_file(data), format!("{url}\n").as_bytes())?;
        let log = folder.join("redis.log");
        let config = configuration(&folder, &socket, &log, &password);
        Ok(Self { url, folder, socket, log, config, running: None })
    }

    /// Its address, with the password. It is the same after every start.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Starts it and waits until it has loaded what is there.
    ///
    /// # Errors
    /// If no server is installed, or it ends at once; the error holds the last lines of its log.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let server = find_server(std::env::var_os("PATH").as_deref()).context(
            "neither redis-server nor valkey-server is on PATH: `apt-get install redis-server`, \
             or give REDIS_URL to run against a Redis of your own",
        )?;
        let running = Running::spawn(&server, &self.folder.join("lock"), &self.log, self.config.clone())?;
        self.running = Some(running);
        self.wait_until_loaded().await
    }

    /// Starts it again whenever it ends by itself, for as long as this is polled. Gives the reason when it could not be
    /// started several times in a row: then it is given up.
    pub(crate) async fn keep(&mut self) -> anyhow::Error {
        let mut restarts = Restarts::default();
        loop {
            let began = Instant::now();
            let status = self.ended().await;
            let mut error = self.tail_of_log(status);
            restarts.note_end(status, began.elapsed());
            while let Some(pause) = restarts.next_pause() {
                tracing::error!(error = chain(error.as_ref()), ?pause, "the private Redis ended; it is started again");
                sleep(pause).await;
                match self.start().await {
                    Ok(()) => break,
                    Err(failed) => error = failed,
                }
                restarts.note_failure();
            }
            if restarts.are_given_up() {
                return error.context(format!("the private Redis could not be started {MOST_FAILURES} times in a row"));
            }
            tracing::info!("the private Redis runs again");
        }
    }

    /// Asks it to end, and waits for it.
    pub(crate) async fn stop(mut self) {
        if let Some(mut running) = self.running.take() {
            // One that was halted by SIGSTOP hears the first signal only when it goes on.
            running.signal(Signal::SIGTERM);
            running.signal(Signal::SIGCONT);
            if timeout(STOP_WITHIN, running.ended()).await.is_err() {
                tracing::warn!("the private Redis does not end; it is killed");
                running.signal(Signal::SIGKILL);
            }
        }
        self.remove_socket_folder();
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> Option<ExitStatus> {
        match &mut self.running {
            Some(running) => running.ended().await,
            None => None,
        }
    }

    async fn wait_until_loaded(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut told = false;
        loop {
            if let Ok(status) = timeout(POLL, self.ended()).await {
                return Err(self.tail_of_log(status));
            }
            // The version of the schema is the cheapest thing to ask for that answers only once all is loaded.
            if migrations::version(&self.url, &projections_keys()).await.is_ok() {
                return Ok(());
            }
            if !told && began.elapsed() > LOADING_IS_SLOW {
                tracing::info!(log = %self.log.display(), "the private Redis is still loading its data");
                told = true;
            }
        }
    }

    fn tail_of_log(&self, status: Option<ExitStatus>) -> anyhow::Error {
        let log = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let mut lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        lines.reverse();
        let status = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
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
            "the data directory {} can't be used: its path must be UTF-8 without control characters. Rename it, or give \
             another by --data or DATA_DIR",
            data.display().to_string().escape_debug()
        );
    }
    Ok(())
}
