//! Claiming tickets, on a connection of its own.
//!
//! A claim takes what is there, class by class in rotation, never more than there are permits: `COUNT` is per stream,
//! so one `XREADGROUP` over several would prefetch. When nothing is there it waits on a doorbell, a plain `XREAD` of
//! all classes, which hands nothing out: a wait that is given up, or whose answer is lost, costs nothing.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{Claim, Permits, PortError, TicketReader};
use events::{ClassName, Consumer, Ticket};
use projections::keys::WORKERS_GROUP;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Script, Value};

use crate::faults::failpoint;
use crate::redis::Redis;
use crate::redis::connection::login::RESPONSE_TIMEOUT;
use crate::redis::connection::raw::{RawEntry, bytes, entries_read, named};
use crate::redis::connection::trouble::{away, is_no_group};

/// How many of its own pending tickets are read at a time after an error.
const RECOVERY_PAGE: usize = 500;

pub(crate) struct Reader {
    redis: Redis,
    consumer: Consumer,
    classes: Vec<ClassName>,
    /// Which class is asked first; moves on with every pass, so that no class starves another.
    first: usize,
    /// Taken while a call is under way: a call that fails or is dropped leaves none, and a reply may be lost with it.
    connection: Option<MultiplexedConnection>,
    /// What this consumer was found to hold when the connection was opened.
    recovered: VecDeque<Claim>,
}

impl Reader {
    pub(crate) fn new(redis: Redis, consumer: Consumer, classes: &[ClassName]) -> Self {
        Self { redis, consumer, classes: classes.to_vec(), first: 0, connection: None, recovered: VecDeque::new() }
    }

    async fn open(&mut self) -> Result<MultiplexedConnection, PortError> {
        let mut connection = self.redis.blocking_connection().await.map_err(away)?;
        self.recovered.clear();
        for class in self.classes.clone() {
            ensure_group(&mut connection, &self.redis.keys().queue(&class)).await.map_err(away)?;
            let mut after = "0-0".to_owned();
            loop {
                let entries = self.read(&mut connection, &class, RECOVERY_PAGE, &after).await?;
                let Some(last) = entries.last() else { break };
                after = last.id.to_string();
                self.recovered.extend(read_tickets(&self.redis, &class, &self.consumer, entries).await?);
            }
        }
        Ok(connection)
    }

    /// Sets aside a work stream of another type, so that the next call succeeds. Returns the fault, or the error of
    /// this repair.
    async fn tidied(&self, fault: PortError) -> PortError {
        for class in &self.classes {
            if let Err(error) = self.redis.tidy_queue(&self.redis.keys().queue(class)).await {
                return error;
            }
        }
        fault
    }

    /// One `XREADGROUP`: new tickets after `>`, this consumer's own pending ones after an id.
    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        class: &ClassName,
        count: usize,
        after: &str,
    ) -> Result<Vec<RawEntry>, PortError> {
        let key = self.redis.keys().queue(class);
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(WORKERS_GROUP).arg(self.consumer.as_str());
        command.arg("COUNT").arg(count).arg("STREAMS").arg(&key).arg(after);
        failpoint!("claim.before");
        let reply: RedisResult<Value> = command.query_async(connection).await;
        // Only an answer that hands something out can be lost with harm.
        #[cfg(feature = "faults")]
        if matches!(&reply, Ok(reply) if !entries_read(reply).is_empty()) {
            failpoint!("claim.after");
        }
        match reply {
            Ok(reply) => Ok(entries_read(&reply)),
            Err(error) if is_no_group(&error) => {
                ensure_group(connection, &key).await.map_err(away)?;
                Ok(vec![])
            }
            Err(error) => Err(away(error)),
        }
    }

    async fn pass(
        &mut self,
        connection: &mut MultiplexedConnection,
        mut permits: Permits,
    ) -> Result<Vec<Claim>, PortError> {
        let mut claims = Vec::new();
        let first = self.first;
        self.first = (first + 1) % self.classes.len();
        for turn in 0..self.classes.len() {
            let class = self.classes[(first + turn) % self.classes.len()].clone();
            let room = permits.for_class(&class);
            if room == 0 {
                continue;
            }
            let entries = self.read(connection, &class, room, ">").await?;
            for _ in &entries {
                permits.take(&class);
            }
            claims.extend(read_tickets(&self.redis, &class, &self.consumer, entries).await?);
        }
        Ok(claims)
    }

    /// Returns the last entry of each class's stream.
    async fn ends(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<Vec<u8>>> {
        let mut ends = redis::pipe();
        for class in &self.classes {
            ends.cmd("XINFO").arg("STREAM").arg(self.redis.keys().queue(class));
        }
        let replies: Vec<Value> = ends.query_async(connection).await?;
        let end = |reply: &Value| named(reply, "last-generated-id").and_then(bytes).map(<[u8]>::to_vec);
        // Without an end the bell rings for all that is there: a ticket is never missed.
        Ok(replies.iter().map(|reply| end(reply).unwrap_or_else(|| b"0-0".to_vec())).collect())
    }

    /// Waits until a ticket is added to any class after these ends.
    async fn doorbell(
        &self,
        connection: &mut MultiplexedConnection,
        ends: &[Vec<u8>],
        wait: Duration,
    ) -> RedisResult<()> {
        // An answer that comes later than any may is taken for one that never comes.
        let wait = wait.min(RESPONSE_TIMEOUT / 2);
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(wait.as_millis().max(1).to_string()).arg("STREAMS");
        for class in &self.classes {
            command.arg(self.redis.keys().queue(class));
        }
        let _: redis::Value = command.arg(ends).query_async(connection).await?;
        Ok(())
    }

    async fn claim_on(
        &mut self,
        connection: &mut MultiplexedConnection,
        permits: Permits,
        wait: Duration,
    ) -> Result<Vec<Claim>, PortError> {
        if !self.recovered.is_empty() {
            let count = permits.slots().min(self.recovered.len());
            return Ok(self.recovered.drain(..count).collect());
        }
        let claims = self.pass(connection, permits.clone()).await?;
        if !claims.is_empty() {
            return Ok(claims);
        }
        // The ends are read before the second pass, so a ticket added at any moment is either found by that pass or
        // rings the bell.
        let ends = match self.ends(connection).await {
            Ok(ends) => ends,
            Err(error) => return Err(away(error)),
        };
        let claims = self.pass(connection, permits.clone()).await?;
        if !claims.is_empty() {
            return Ok(claims);
        }
        self.doorbell(connection, &ends, wait).await.map_err(away)?;
        self.pass(connection, permits).await
    }
}

#[async_trait]
impl TicketReader for Reader {
    async fn claim_within(&mut self, permits: Permits, wait: Duration) -> Result<Vec<Claim>, PortError> {
        if permits.slots() == 0 || self.classes.is_empty() {
            return Ok(vec![]);
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.open().await {
                Err(error @ PortError::Corrupt(_)) => return Err(self.tidied(error).await),
                opened => opened?,
            },
        };
        let claims = self.claim_on(&mut connection, permits, wait).await;
        match claims {
            Err(error @ PortError::Corrupt(_)) => Err(self.tidied(error).await),
            claims => {
                let claims = claims?;
                self.connection = Some(connection);
                Ok(claims)
            }
        }
    }
}

/// Makes the group at `0`, so that tickets added before it are handed out too.
async fn ensure_group(connection: &mut MultiplexedConnection, key: &str) -> Result<(), RedisError> {
    Script::new(include_str!("ensure_group.lua")).key(key).invoke_async(connection).await
}

/// Reads tickets; one that can't be read goes to the quarantine with its raw fields and is acknowledged.
pub(crate) async fn read_tickets(
    redis: &Redis,
    class: &ClassName,
    consumer: &Consumer,
    entries: Vec<RawEntry>,
) -> Result<Vec<Claim>, PortError> {
    let mut claims = Vec::with_capacity(entries.len());
    for entry in entries {
        let ticket = Ticket { class: class.clone(), id: entry.id };
        match entry.job() {
            Some(job) => claims.push(Claim { ticket, job }),
            None => quarantine(redis, consumer, &ticket).await?,
        }
    }
    Ok(claims)
}

async fn quarantine(redis: &Redis, consumer: &Consumer, ticket: &Ticket) -> Result<(), PortError> {
    tracing::warn!(class = %ticket.class, ticket = %ticket.id, "a ticket can't be read; it goes to the quarantine");
    metrics::counter!("leadersboard_tickets_quarantined_total", "class" => ticket.class.to_string()).increment(1);
    Script::new(include_str!("quarantine.lua"))
        .key(redis.keys().queue(&ticket.class))
        .key(redis.keys().quarantine())
        .arg(ticket.id.to_string())
        .arg(consumer.as_str())
        .arg(ticket.class.as_str())
        .invoke_async(&mut redis.connection())
        .await
        .map_err(away)
}
