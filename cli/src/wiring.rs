//! The one place where ports meet adapters.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adapters::ids::SystemIds;
use adapters::redis::audit::Mode;
use adapters::redis::check::Verdict;
use adapters::redis::{Redis, RedisFeed, RedisLogFeed, address, cure, describe, is_readable};
use anyhow::{Context, Result, anyhow, bail};
use events::ports::{
    ArtifactPort, DurationsPort, EventFeedPort, EventLogPort, Ids, JobQueuePort, JobStatusPort, LeaderboardPort,
    LiveLogPort, LogFeedPort, LogPort, NudgePort, ProgressPort, RecordsPort, StoragePort, TrackingNotesPort,
    UploadsPort, WorkStatePort, WorkersPort,
};
use migrations::MigrateError;
use projections::Keyspace;
use tokio::net::{TcpListener, TcpSocket};

use crate::bad_usage::BadUsage;
use crate::board_files::{self, JobFiles};
use crate::options::redis::{RedisOptions, StrictOption};
use crate::options::storage::StorageOptions;

/// How many clients may wait to be accepted, as in the standard library.
const BACKLOG: u32 = 1024;

/// Every port, wired to its adapter.
pub(crate) struct Ports {
    redis: Redis,
    /// What tells this board from every other, in stores that boards share.
    pub(crate) board: String,
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) feed: Arc<dyn EventFeedPort>,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) workers: Arc<dyn WorkersPort>,
    pub(crate) durations: Arc<dyn DurationsPort>,
    pub(crate) nudges: Arc<dyn NudgePort>,
    pub(crate) work_state: Arc<dyn WorkStatePort>,
    pub(crate) records: Arc<dyn RecordsPort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) leaderboard: Arc<dyn LeaderboardPort>,
    pub(crate) storage: Arc<dyn StoragePort>,
    pub(crate) logs: Arc<dyn LogPort>,
    pub(crate) artifacts: Arc<dyn ArtifactPort>,
    pub(crate) live_log: Arc<dyn LiveLogPort>,
    pub(crate) log_feed: Arc<dyn LogFeedPort>,
    pub(crate) progress: Arc<dyn ProgressPort>,
    pub(crate) tracking_notes: Arc<dyn TrackingNotesPort>,
    pub(crate) uploads: Arc<dyn UploadsPort>,
    pub(crate) ids: Arc<dyn Ids>,
}

impl Ports {
    /// Connects to a Redis whose schema is current, and opens the storage.
    ///
    /// # Errors
    /// What is not as it must be, and the cure.
    pub(crate) async fn open(
        url: &str,
        keys: &Keyspace,
        position: PathBuf,
        storage: &StorageOptions,
        data: &Path,
    ) -> Result<Self> {
        check_schema(url, keys).await?;
        let redis = Redis::connect_keeping(url, keys.clone(), position).await?;
        let board = format!("{}.{}", keys.namespace(), migrations::began(url, keys).await?);
        let (submissions, JobFiles { logs, artifacts }) = board_files::open(storage, data, &board, &redis).await?;
        Ok(Self {
            log: Arc::new(redis.clone()),
            feed: Arc::new(RedisFeed::new(redis.clone())),
            queue: Arc::new(redis.clone()),
            workers: Arc::new(redis.clone()),
            durations: Arc::new(redis.clone()),
            nudges: Arc::new(redis.clone()),
            work_state: Arc::new(redis.clone()),
            records: Arc::new(redis.clone()),
            status: Arc::new(redis.clone()),
            leaderboard: Arc::new(redis.clone()),
            live_log: Arc::new(redis.clone()),
            log_feed: Arc::new(RedisLogFeed::new(redis.clone())),
            progress: Arc::new(redis.clone()),
            tracking_notes: Arc::new(redis.clone()),
            uploads: Arc::new(redis.clone()),
            redis,
            board,
            storage: submissions,
            logs,
            artifacts,
            ids: Arc::new(SystemIds),
        })
    }

    /// The Redis behind the ports.
    pub(crate) const fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The ports that a worker uses.
    pub(crate) fn of_worker(&self) -> worker::Ports {
        worker::Ports {
            log: Arc::clone(&self.log),
            queue: Arc::clone(&self.queue),
            workers: Arc::clone(&self.workers),
            durations: Arc::clone(&self.durations),
            nudges: Arc::clone(&self.nudges),
            work_state: Arc::clone(&self.work_state),
            records: Arc::clone(&self.records),
            status: Arc::clone(&self.status),
            storage: Arc::clone(&self.storage),
            logs: Arc::clone(&self.logs),
            artifacts: Arc::clone(&self.artifacts),
            live_log: Arc::clone(&self.live_log),
            progress: Arc::clone(&self.progress),
            tracking_notes: Arc::clone(&self.tracking_notes),
            ids: Arc::clone(&self.ids),
        }
    }

    /// The ports of a role that shares its Redis with others; says loudly what may be lost with that Redis.
    ///
    /// # Errors
    /// What is not as it must be, and the cure.
    pub(crate) async fn shared(
        redis: &RedisOptions,
        strict: &StrictOption,
        storage: &StorageOptions,
        role: &str,
    ) -> Result<Self> {
        let keys = &redis.namespace.namespace;
        let position = position_file(&redis.data, keys, role);
        let ports = Self::open(&redis.url()?, keys, position, storage, &redis.data).await?;
        for finding in ports.redis.check().await? {
            match finding.verdict {
                Verdict::Good => {}
                Verdict::Risky(risk) if strict.strict => bail!("Redis {}: {risk}", finding.name),
                Verdict::Risky(risk) => tracing::warn!(found = finding.found, "Redis {}: {risk}", finding.name),
                Verdict::Unusable(why) => bail!("Redis {}: {why}", finding.name),
            }
        }
        Ok(ports)
    }
}

/// Where a role keeps how far it has seen the event log.
pub(crate) fn position_file(data: &Path, keys: &Keyspace, role: &str) -> PathBuf {
    data.join(format!("log-position.{}.{role}", keys.namespace()))
}

/// A Redis whose schema is current, for a command that looks at it or mends it.
///
/// # Errors
/// What is not as it must be, and the cure.
pub(crate) async fn connect(options: &RedisOptions) -> Result<Redis> {
    let (url, keys) = (options.url()?, &options.namespace.namespace);
    check_schema(&url, keys).await?;
    Redis::connect(&url, keys.clone()).await.with_context(|| format!("Redis at {}", address(&url)))
}

/// Takes the missing steps of the key schema; read models that a step made others of are made anew from the log.
///
/// # Errors
/// If Redis does not answer, or a newer program has been here.
pub(crate) async fn migrate(url: &str, keys: &Keyspace) -> Result<migrations::Report> {
    let rebuild = async || {
        tracing::info!("rebuilding the read models from the log");
        let rebuilt = async { Redis::connect(url, keys.clone()).await?.audit(Mode::Rebuild, |_| {}).await };
        let report = rebuilt.await.map_err(|error| error.to_string())?;
        tracing::info!(report.events, report.aggregates, report.differences, "rebuilt the read models");
        Ok(())
    };
    migrations::migrate(url, keys, rebuild).await.map_err(|error| explain(url, error))
}

/// Why a Redis could not be migrated or its schema not be read, with its address.
fn explain(url: &str, error: MigrateError) -> anyhow::Error {
    match error {
        // It has no address to name.
        MigrateError::Redis(error) if !is_readable(url) => {
            BadUsage::from(anyhow!("{}: {}", describe(&error), cure(&error))).into()
        }
        MigrateError::Redis(error) => {
            anyhow!("Redis at {} can't be used: {}: {}", address(url), describe(&error), cure(&error))
        }
        error => anyhow::Error::new(error).context(format!("Redis at {}", address(url))),
    }
}

async fn check_schema(url: &str, keys: &Keyspace) -> Result<()> {
    let version = migrations::version(url, keys).await.map_err(|error| explain(url, error))?;
    if version != migrations::CURRENT {
        let (current, address) = (migrations::CURRENT, address(url));
        bail!(
            "the key schema of Redis at {address} has version {version}, this program needs {current}: run \
             `leadersboard migrate`"
        );
    }
    Ok(())
}

/// An address that no other process can take. Nobody can connect to it yet.
pub(crate) struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
    option: &'static str,
}

/// Takes an address that `option` gave.
///
/// # Errors
/// If the address is taken or not this machine's.
pub(crate) fn bind(address: SocketAddr, option: &'static str) -> Result<Bound> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of an earlier process may linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    let socket = bound().map_err(|error| unusable(address, option, &error))?;
    Ok(Bound { socket, address, option })
}

impl Bound {
    /// Lets clients connect.
    ///
    /// # Errors
    /// If another process listens on the address since.
    pub(crate) fn listen(self) -> Result<TcpListener> {
        let Self { socket, address, option } = self;
        socket.listen(BACKLOG).map_err(|error| unusable(address, option, &error))
    }
}

fn unusable(address: SocketAddr, option: &str, error: &io::Error) -> anyhow::Error {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "another process uses it".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine does not have it".to_owned(),
        ErrorKind::PermissionDenied => "only root may use this port".to_owned(),
        _ => error.to_string(),
    };
    anyhow!("can't listen on {address}: {why}. Choose another address with {option}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_taken_is_told_with_the_option_that_changes_it() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = bind(any, "--listen").unwrap().listen().unwrap();
        let taken = listener.local_addr().unwrap();
        let error = bind(taken, "--listen").and_then(Bound::listen).err().unwrap().to_string();
        let told = format!("can't listen on {taken}: another process uses it. Choose another address with --listen");
        assert_eq!(error, told);
        let error = bind(SocketAddr::from(([192, 0, 2, 1], 0)), "--metrics-addr").err().unwrap().to_string();
        assert!(
            error.ends_with("this machine does not have it. Choose another address with --metrics-addr"),
            "{error}"
        );
    }
}
