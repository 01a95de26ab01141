//! The workers: what they tell of themselves, and what the consumer groups know of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{JobQueuePort, PortError, Presence, SeenWorker, WorkersPort};
use events::{ClassName, Consumer};
use redis::{RedisResult, Script, Value};
use serde::{Deserialize, Serialize};

use crate::redis::Redis;
use crate::redis::connection::raw::{bytes, parse};
use crate::redis::connection::trouble::{away, unreadable};

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
        let stored = serde_json::to_string(&Stored { presence: presence.clone(), lasting_ms }).map_err(unreadable)?;
        Script::new(include_str!("announce.lua"))
            .key(self.keys().worker(&presence.worker))
            .key(self.keys().workers())
            .arg(stored)
            .arg(lasting_ms)
            .arg(presence.worker.as_str())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)
    }

    async fn withdraw(&self, worker: &Consumer) -> Result<(), PortError> {
        let mut connection = self.connection();
        let mut withdraw = redis::pipe();
        withdraw.cmd("DEL").arg(self.keys().worker(worker)).ignore();
        withdraw.cmd("ZREM").arg(self.keys().workers()).arg(worker.as_str()).ignore();
        withdraw.query_async(&mut connection).await.map_err(away)
    }

    async fn workers(&self, classes: &[ClassName]) -> Result<Vec<SeenWorker>, PortError> {
        let mut consumers = self.consumers(classes).await?;
        // One that serves no class now is no consumer of any.
        let told = self.telling().await?;
        let only_told: BTreeSet<Consumer> = told.into_iter().filter(|worker| !consumers.contains_key(worker)).collect();
        consumers.extend(only_told.iter().map(|worker| (worker.clone(), 0)));
        if consumers.is_empty() {
            return Ok(vec![]);
        }
        let mut read = redis::pipe();
        for worker in consumers.keys() {
            let key = self.keys().worker(worker);
            read.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
        }
        let replies: Vec<RedisResult<Value>> =
            read.ignore_errors().query_async(&mut self.connection()).await.map_err(away)?;
        let seen = |((worker, tickets), told): ((Consumer, u64), &[RedisResult<Value>])| {
            // What can't be read tells nothing; a living worker tells it again within seconds.
            let told = |nth: usize| told[nth].as_ref().ok();
            let stored = told(0).and_then(bytes).and_then(|text| serde_json::from_slice::<Stored>(text).ok());
            let left_ms = told(1).and_then(|left| redis::from_redis_value_ref::<u64>(left).ok());
            let silent = stored
                .as_ref()
                .zip(left_ms)
                .and_then(|(stored, left_ms)| stored.lasting_ms.checked_sub(left_ms).map(Duration::from_millis));
            SeenWorker { worker, presence: stored.map(|stored| stored.presence), silent, tickets }
        };
        let seen = consumers.into_iter().zip(replies.chunks_exact(2)).map(seen);
        Ok(seen.filter(|seen| seen.presence.is_some() || !only_told.contains(&seen.worker)).collect())
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
    /// Every worker that tells of itself.
    async fn telling(&self) -> Result<Vec<Consumer>, PortError> {
        let told = redis::cmd("ZRANGE")
            .arg(self.keys().workers())
            .arg(&["0", "-1"])
            .query_async::<Vec<Vec<u8>>>(&mut self.connection())
            .await;
        match told.map_err(away) {
            Ok(names) => Ok(names.iter().filter_map(|name| parse(name)).collect()),
            Err(PortError::Corrupt(_)) => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    /// Every consumer of these classes, and how many tickets it holds.
    async fn consumers(&self, classes: &[ClassName]) -> Result<BTreeMap<Consumer, u64>, PortError> {
        let mut consumers = BTreeMap::new();
        for class in classes {
            let found = match self.consumers_of(&self.keys().queue(class)).await {
                // A work stream that is none has no consumers; the reconciler sets it aside.
                Err(PortError::Corrupt(_)) => continue,
                found => found?,
            };
            for (name, pending) in found {
                // Neither is a consumer whose name is no worker's.
                if let Some(name) = parse(&name) {
                    *consumers.entry(name).or_default() += pending;
                }
            }
        }
        Ok(consumers)
    }
}
