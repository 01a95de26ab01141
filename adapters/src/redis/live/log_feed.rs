//! What runs print, as it is shown: one reader of all live logs in each process, for any number of listeners.
//!
//! The reader has a connection of its own and runs while anybody listens. It waits on all live logs that somebody
//! listens to at once. A new listener has Redis end the wait, so that the reader includes its log at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{LogChunk, LogFeed, LogFeedPort, PortError, Printed};
use events::{Fence, JobId, StreamId};
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId as Entry, StreamKey, StreamRangeReply, StreamReadReply};
use tokio::time::sleep;

use super::listeners::{Listener, Listeners, Tellable};
use super::live_log::BYTES;
use crate::redis::Redis;
use crate::redis::connection::backoff::Backoff;
use crate::redis::connection::trouble::{away, parse_stream_id};

/// How long one read waits for chunks: well below the time that Redis may take to answer.
const BLOCK: Duration = Duration::from_secs(2);

/// How many chunks of each run one read takes.
const BATCH: usize = 4;

/// How often and how long apart the reader is asked to take in another live log. One that is not heard takes it in
/// when its wait is over.
const CALLS: u32 = 50;
const BETWEEN_CALLS: Duration = Duration::from_millis(1);

/// The feed of one namespace. There is one a process.
pub struct RedisLogFeed {
    redis: Redis,
    listeners: Arc<Listeners<Printed>>,
    wait: Arc<Wait>,
    /// Held while a reader is started, so that there is one.
    starting: tokio::sync::Mutex<()>,
}

/// What the reader waits for.
#[derive(Default)]
struct Wait {
    /// Its connection, as Redis numbers it; 0 while it has none.
    client: AtomicI64,
    /// How many live logs had been added when it last looked what there is to read.
    additions: AtomicU64,
}

impl Tellable for Printed {
    const MISSED: Self = Self::Missed;
    const QUEUE: usize = 8;
    /// The newest entry that was read; none before the first.
    type Place = Option<StreamId>;
}

impl RedisLogFeed {
    /// A feed whose reader starts with the first who listens.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis, listeners: Arc::default(), wait: Arc::default(), starting: tokio::sync::Mutex::default() }
    }

    /// Has a reader run that reads what is listened to now.
    async fn ensure_reader(&self) -> Result<(), PortError> {
        let _starting = self.starting.lock().await;
        if self.listeners.lock().reader_runs() {
            return Ok(());
        }
        let (connection, client) = connect(&self.redis).await?;
        self.wait.client.store(client, Ordering::Release);
        self.listeners.lock().reader_begins();
        let (redis, listeners, wait) = (self.redis.clone(), Arc::clone(&self.listeners), Arc::clone(&self.wait));
        tokio::spawn(Reader { redis, listeners, wait }.run(connection));
        Ok(())
    }

    /// Has the reader take in what has been added.
    async fn call_reader(&self) {
        let added = self.listeners.lock().additions();
        for _ in 0..CALLS {
            if self.wait.additions.load(Ordering::Acquire) >= added {
                return;
            }
            let client = self.wait.client.load(Ordering::Acquire);
            let mut unblock = redis::cmd("CLIENT");
            unblock.arg("UNBLOCK").arg(client);
            // A reader that lost its connection looks at all there is before it waits again.
            if !matches!(unblock.query_async(&mut self.redis.connection()).await, Ok(0)) {
                return;
            }
            // It is between two waits: then it has looked already, or will.
            sleep(BETWEEN_CALLS).await;
        }
    }
}

#[async_trait]
impl LogFeedPort for RedisLogFeed {
    async fn subscribe(&self, job: JobId, fence: &Fence) -> Result<Box<dyn LogFeed>, PortError> {
        // A reader that sees somebody listen does not stop, so it is asked for after this.
        // All that is kept is told first: a host that can't read the log has that much of it.
        let listener = self.listeners.join(self.redis.keys().log_tail(job, fence), None);
        self.ensure_reader().await?;
        self.call_reader().await;
        Ok(Box::new(listener))
    }
}

#[async_trait]
impl LogFeed for Listener<Printed> {
    async fn next(&mut self) -> Printed {
        Self::next(self).await
    }
}

impl Redis {
    /// The chunks of a run that end behind an offset, as far as they are kept, in their order.
    pub(crate) async fn live_chunks(&self, job: JobId, fence: &Fence, after: u64) -> Result<Vec<LogChunk>, PortError> {
        let mut read = redis::cmd("XRANGE");
        // An entry's id is the offset at which its bytes end.
        read.arg(self.keys().log_tail(job, fence)).arg(format!("({after}-{}", u64::MAX)).arg("+");
        let found: StreamRangeReply = read.query_async(&mut self.connection()).await.map_err(away)?;
        Ok(found.ids.iter().filter_map(chunk).collect())
    }
}

/// The one who reads the live logs.
struct Reader {
    redis: Redis,
    listeners: Arc<Listeners<Printed>>,
    wait: Arc<Wait>,
}

impl Reader {
    /// Reads for as long as somebody listens.
    async fn run(self, mut connection: MultiplexedConnection) {
        loop {
            let Err(error) = self.follow(&mut connection).await else { return };
            tracing::warn!(error = format!("{error:#}"), "following live logs fails; trying again until it works");
            let mut backoff = Backoff::default();
            connection = loop {
                if self.listeners.retire_reader() {
                    return;
                }
                // Also before the first try: what can be opened need not be readable.
                sleep(backoff.next_pause()).await;
                match connect(&self.redis).await {
                    Ok((connection, client)) => {
                        self.wait.client.store(client, Ordering::Release);
                        break connection;
                    }
                    Err(error) => tracing::debug!(error = format!("{error:#}"), "live logs can't be followed yet"),
                }
            };
            // Chunks may have come and gone.
            self.listeners.tell_all(&Printed::Missed);
            tracing::info!("following live logs works again");
        }
    }

    /// Reads on one connection until nobody listens.
    async fn follow(&self, connection: &mut MultiplexedConnection) -> Result<(), PortError> {
        while !self.listeners.retire_reader() {
            for StreamKey { key, ids } in self.read(connection).await? {
                self.tell(&key, ids)?;
            }
        }
        Ok(())
    }

    /// Waits for chunks of anything that is listened to.
    async fn read(&self, connection: &mut MultiplexedConnection) -> Result<Vec<StreamKey>, PortError> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(BATCH).arg("BLOCK").arg(BLOCK.as_millis().to_string()).arg("STREAMS");
        {
            let roll = self.listeners.lock();
            let (keys, places): (Vec<&String>, Vec<&Option<StreamId>>) = roll.places().unzip();
            if keys.is_empty() {
                return Ok(vec![]);
            }
            let places = places.into_iter().map(|place| place.map_or_else(|| "0-0".to_owned(), |id| id.to_string()));
            read.arg(keys).arg(places.collect::<Vec<_>>());
            self.wait.additions.store(roll.additions(), Ordering::Release);
        }
        let reply: Option<StreamReadReply> = read.query_async(connection).await.map_err(away)?;
        Ok(reply.map(|reply| reply.keys).unwrap_or_default())
    }

    fn tell(&self, key: &str, entries: Vec<Entry>) -> Result<(), PortError> {
        let mut roll = self.listeners.lock();
        for entry in entries {
            let place = parse_stream_id(&entry.id)?;
            roll.tell(key, || chunk(&entry).map_or(Printed::Missed, |chunk| Printed::Chunk(Arc::new(chunk))));
            roll.move_to(key, Some(place));
        }
        Ok(())
    }
}

/// An entry's bytes, which end where its id says; none of an entry that somebody else wrote.
fn chunk(entry: &Entry) -> Option<LogChunk> {
    let bytes = Bytes::from(entry.get::<Vec<u8>>(BYTES)?);
    let end: u64 = entry.id.split('-').next()?.parse().ok()?;
    Some(LogChunk { offset: end.checked_sub(bytes.len() as u64)?, bytes })
}

/// A connection to wait on, and its number.
async fn connect(redis: &Redis) -> Result<(MultiplexedConnection, i64), PortError> {
    let mut connection = redis.blocking_connection().await.map_err(away)?;
    let client = redis::cmd("CLIENT").arg("ID").query_async(&mut connection).await.map_err(away)?;
    Ok((connection, client))
}
