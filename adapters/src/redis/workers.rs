//! The workers: what they tell of themselves, and what the consumer groups know of them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{JobQueuePort, PortError, Presence, SeenWorker, WorkersPort};
use events::{ClassName, Consumer};
use projections::keys::WORKERS_GROUP;
use redis::streams::StreamInfoConsumersReply;
use redis::{RedisResult, Script, Value};
use serde::{Deserialize, Serialize};

use super::{Redis, away, corrupt, is_no_group};

/// What is stored of a worker.
#[derive(Serialize, Deserialize)]
struct Stored {
    presence: Presence,
    /// How long it was stored for: what is left of that tells how long ago it was.
    lasting_ms: u64,
}

#[async_trait]
impl WorkersPort for Redis {
    async fn announce(&self, presence: &Presence, lasting: Duration) -> Result<(), PortError> {
        let lasting_ms = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX);
        let stored = serde_json::to_string(&Stored { presence: presence.clone(), lasting_ms }).map_err(corrupt)?;
        Script::new(include_str!("announce.lua"))
            .key(self.keys().worker(&presence.worker))
            .arg(stored)
            .arg(lasting_ms)
            .invoke_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))
    }

    async fn withdraw(&self, worker: &Consumer) -> Result<(), PortError> {
        let mut connection = self.connection();
        let key = self.keys().worker(worker);
        redis::cmd("DEL").arg(key).query_async(&mut connection).await.map_err(|error| away(&error))
    }

    async fn workers(&self, classes: &[ClassName]) -> Result<Vec<SeenWorker>, PortError> {
        let consumers = self.consumers(classes).await?;
        if consumers.is_empty() {
            return Ok(vec![]);
        }
        let mut read = redis::pipe();
        for worker in consumers.keys() {
            let key = self.keys().worker(worker);
            read.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
        }
        let replies: Vec<Value> =
            read.ignore_errors().query_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        let seen = |((worker, tickets), told): ((Consumer, u64), &[Value])| {
            // One that tells what can't be read is as one that tells nothing.
            let stored: Option<Vec<u8>> = redis::from_redis_value_ref(&told[0]).unwrap_or_default();
            let left_ms: i64 = redis::from_redis_value_ref(&told[1]).map_err(corrupt)?;
            let stored: Option<Stored> = stored.and_then(|text| serde_json::from_slice(&text).ok());
            let silent = stored.as_ref().and_then(|stored| {
                stored.lasting_ms.checked_sub(u64::try_from(left_ms).ok()?).map(Duration::from_millis)
            });
            Ok(SeenWorker { worker, presence: stored.map(|stored| stored.presence), silent, tickets })
        };
        consumers.into_iter().zip(replies.chunks_exact(2)).map(seen).collect()
    }

    async fn forget_dead(&self, classes: &[ClassName]) -> Result<u64, PortError> {
        let mut forgotten = 0;
        for seen in self.workers(classes).await? {
            if seen.presence.is_none() && seen.tickets == 0 {
                // The script sees for itself that it holds nothing; a living one that is forgotten is known again by
                // its next claim.
                self.retire(&seen.worker, classes).await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}

impl Redis {
    /// Every consumer of these classes, and how many tickets it holds.
    async fn consumers(&self, classes: &[ClassName]) -> Result<BTreeMap<Consumer, u64>, PortError> {
        let mut consumers = BTreeMap::new();
        for class in classes {
            let reply: RedisResult<StreamInfoConsumersReply> = redis::cmd("XINFO")
                .arg(&["CONSUMERS", &self.keys().queue(class), WORKERS_GROUP])
                .query_async(&mut self.connection())
                .await;
            let reply = match reply {
                Err(error) if is_no_group(&error) || error.code() == Some("ERR") => continue,
                reply => reply.map_err(|error| away(&error))?,
            };
            for consumer in reply.consumers {
                let Ok(name) = consumer.name.parse::<Consumer>() else { continue };
                *consumers.entry(name).or_default() += consumer.pending as u64;
            }
        }
        Ok(consumers)
    }
}
