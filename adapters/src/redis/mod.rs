//! Redis: the event log, the work streams and the read models of one namespace.

pub mod audit;
pub(crate) mod commit;
pub(crate) mod connection;
mod keys_of;
mod leaderboard;
pub(crate) mod live;
pub(crate) mod queue;
pub(crate) mod reads;
pub(crate) mod repair;

use std::path::PathBuf;

use events::Timestamp;
use events::ports::PortError;
use events::time::from_unix_micros;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};

pub use connection::check;
pub use connection::trouble::{address, cure, describe, is_readable};
pub use live::log_feed::RedisLogFeed;
pub use reads::feed::RedisFeed;

use commit::committer::Committer;
use commit::position::Position;
use connection::shared::Shared;
use connection::trouble::away;

/// One namespace of one Redis: implements the event log, the job queue and the job status.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    shared: Shared,
    keys: Keyspace,
    position: Position,
    /// When the board began, as this process found it; none before its first migration.
    began: Option<String>,
    admission: Committer,
    progress: Committer,
}

impl Redis {
    /// Connects to `url` (`redis://…`, `redis+unix:///path?pass=…`) and takes up a namespace.
    ///
    /// # Errors
    /// If the address can't be parsed or nothing answers there.
    pub async fn connect(url: &str, keys: Keyspace) -> Result<Self, PortError> {
        Self::connect_from(url, keys, Position::default()).await
    }

    /// As [`Self::connect`], for a process that keeps in a file how far it has seen the event log, so that its next
    /// start notices should Redis come back without a part of it.
    ///
    /// # Errors
    /// As of [`Self::connect`].
    pub async fn connect_keeping(url: &str, keys: Keyspace, position: PathBuf) -> Result<Self, PortError> {
        Self::connect_from(url, keys, Position::kept_in(position)).await
    }

    async fn connect_from(url: &str, keys: Keyspace, position: Position) -> Result<Self, PortError> {
        let client = Client::open(url).map_err(away)?;
        let shared = Shared::open(client.clone()).await.map_err(away)?;
        let [admission, progress] = [events::Lane::Admission, events::Lane::Progress]
            .map(|lane| Committer::spawn(lane, shared.clone(), keys.clone(), position.clone()));
        let redis = Self { client, shared, keys, position, began: None, admission, progress };
        let began = redis.read_began().await.map_err(away)?;
        Ok(Self { began, ..redis })
    }

    /// The keys of the namespace.
    #[must_use]
    pub const fn keys(&self) -> &Keyspace {
        &self.keys
    }

    async fn read_began(&self) -> Result<Option<String>, RedisError> {
        redis::cmd("HGET").arg(self.keys().schema()).arg("step:1").query_async(&mut self.connection()).await
    }

    /// Redis's time.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn now(&self) -> Result<Timestamp, PortError> {
        let time = redis::cmd("TIME").query_async(&mut self.connection()).await.map_err(away)?;
        Ok(redis_time(time))
    }

    /// A connection that many callers share and that must never block.
    fn connection(&self) -> Shared {
        self.shared.clone()
    }

    /// A connection of the caller's own, which may block on it for less than [`connection::login::RESPONSE_TIMEOUT`].
    async fn blocking_connection(&self) -> Result<MultiplexedConnection, RedisError> {
        connection::login::open(&self.client).await
    }
}

/// Redis's answer to `TIME`: seconds and microseconds.
fn redis_time((seconds, micros): (i64, i64)) -> Timestamp {
    from_unix_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
