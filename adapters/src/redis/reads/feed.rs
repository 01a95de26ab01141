//! The events of jobs as they are appended: one reader of the log a process, however many listen.
//!
//! The reader has a connection of its own and runs while anybody listens. It goes on from the last entry it has seen,
//! never from `$`, so that nothing is skipped between two reads or while Redis is away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{EventFeed, EventFeedPort, Heard, HistoryEntry, PortError};
use events::{AggregateId, JobId, StreamId};
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::entries::read_new_entries;
use crate::redis::Redis;
use crate::redis::connection::backoff::Backoff;
use crate::redis::connection::trouble::away;
use crate::redis::live::listeners::{Listener, Listeners, Tellable};

/// How long one read waits for entries: well below the time that Redis may take to answer.
const BLOCK: Duration = Duration::from_secs(2);

/// How many entries one read takes.
const BATCH: usize = 100;

/// The feed of one namespace. There is one a process.
pub struct RedisFeed {
    redis: Redis,
    listeners: Arc<Listeners<Heard>>,
    /// Held while a reader is started, so that there is one.
    starting: tokio::sync::Mutex<()>,
}

impl RedisFeed {
    /// A feed whose reader starts with the first who listens.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis, listeners: Arc::default(), starting: tokio::sync::Mutex::default() }
    }

    /// Has a reader run whose place in the log is known, so that no entry appended from now on is skipped.
    async fn ensure_reader(&self) -> Result<(), PortError> {
        let _starting = self.starting.lock().await;
        if self.listeners.lock().reader_runs() {
            return Ok(());
        }
        let connection = self.redis.blocking_connection().await.map_err(away)?;
        let after = self.redis.newest_entry().await?;
        self.listeners.lock().reader_begins();
        let reader = Reader { redis: self.redis.clone(), listeners: Arc::clone(&self.listeners), after };
        tokio::spawn(reader.run(connection));
        Ok(())
    }
}

#[async_trait]
impl EventFeedPort for RedisFeed {
    async fn subscribe(&self, job: JobId) -> Result<Box<dyn EventFeed>, PortError> {
        // A reader that sees somebody listen does not stop, so it is asked for after this.
        // By the aggregate as entries name it, so that those of other jobs are passed over unread.
        let listener = self.listeners.join(AggregateId::Job(job).to_string(), ());
        self.ensure_reader().await?;
        Ok(Box::new(listener))
    }
}

impl Tellable for Heard {
    const MISSED: Self = Self::Missed;
    const QUEUE: usize = 16;
    /// All are in one log.
    type Place = ();
}

#[async_trait]
impl EventFeed for Listener<Heard> {
    async fn next(&mut self) -> Heard {
        Self::next(self).await
    }
}

/// Hands entries to the listeners of their jobs.
fn tell(listeners: &Listeners<Heard>, entries: Vec<HistoryEntry>) {
    if entries.iter().any(|entry| entry.event.aggregate.is_empty()) {
        // It may be of any job: each listener looks for itself.
        listeners.tell_all(&Heard::Missed);
    }
    let roll = listeners.lock();
    for entry in entries {
        let aggregate = entry.event.aggregate.clone();
        // A listener that looks up an entry that can't be read learns what is wrong with it.
        let heard = || if entry.event.is_unreadable() { Heard::Missed } else { Heard::Event(Arc::new(entry)) };
        roll.tell(&aggregate, heard);
    }
}

/// The one who reads the log.
struct Reader {
    redis: Redis,
    listeners: Arc<Listeners<Heard>>,
    /// The last entry seen; none in an empty log.
    after: Option<StreamId>,
}

impl Reader {
    /// Reads for as long as somebody listens.
    async fn run(mut self, mut connection: MultiplexedConnection) {
        loop {
            let Err(error) = self.follow(&mut connection).await else { return };
            tracing::warn!(error = format!("{error:#}"), "following the event log fails; trying again until it works");
            let mut backoff = Backoff::default();
            connection = loop {
                if self.listeners.retire_reader() {
                    return;
                }
                // Also before the first try: what can be opened need not be readable.
                sleep(backoff.next_pause()).await;
                match self.take_up_again().await {
                    Ok(connection) => break connection,
                    Err(error) => tracing::debug!(error = format!("{error:#}"), "the event log can't be followed yet"),
                }
            };
            tracing::info!("following the event log works again");
        }
    }

    /// Reads on one connection until nobody listens.
    async fn follow(&mut self, connection: &mut MultiplexedConnection) -> Result<(), PortError> {
        while !self.listeners.retire_reader() {
            let entries = self.read(connection).await?;
            if let Some(last) = entries.last() {
                self.after = Some(last.id);
                tell(&self.listeners, entries);
            }
        }
        Ok(())
    }

    /// Goes on with another connection. Redis may have come back without its newest entries, which some listeners know
    /// and this reader never saw, so all are told to look for themselves. If the last entry seen is gone, those that
    /// come may have smaller ids than it had, and reading begins anew at the log's end.
    async fn take_up_again(&mut self) -> Result<MultiplexedConnection, PortError> {
        let mut connection = self.redis.blocking_connection().await.map_err(away)?;
        if let Some(place) = self.after.map(|id| id.to_string()) {
            let found: Value = redis::cmd("XRANGE")
                .arg(&[&self.redis.keys().events(), &place, &place])
                .query_async(&mut connection)
                .await
                .map_err(away)?;
            if found == Value::Array(vec![]) {
                self.after = self.redis.newest_entry().await?;
            }
        }
        self.listeners.tell_all(&Heard::Missed);
        Ok(connection)
    }

    async fn read(&self, connection: &mut MultiplexedConnection) -> Result<Vec<HistoryEntry>, PortError> {
        let after = self.after.map_or_else(|| "0-0".to_owned(), |id| id.to_string());
        let reply: Value = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg(BLOCK.as_millis().to_string())
            .arg("STREAMS")
            .arg(self.redis.keys().events())
            .arg(after)
            .query_async(connection)
            .await
            .map_err(away)?;
        read_new_entries(&reply)
    }
}
