//! Nudges, by Redis's publish and subscribe.

use std::time::Duration;

use async_trait::async_trait;
use events::JobId;
use events::ports::{NudgePort, Nudges, PortError};
use futures::StreamExt;
use redis::RedisResult;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::time::timeout;

use crate::redis::Redis;
use crate::redis::connection::login::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};
use crate::redis::connection::trouble::away;

/// How often a connection on which nothing is heard is asked whether it still carries anything.
const ASK_EVERY: Duration = Duration::from_secs(30);

#[async_trait]
impl NudgePort for Redis {
    async fn nudge(&self, job: JobId) -> Result<(), PortError> {
        redis::cmd("PUBLISH")
            .arg(self.keys().nudges())
            .arg(job.to_string())
            .query_async(&mut self.connection())
            .await
            .map_err(away)
    }

    async fn nudges(&self) -> Result<Box<dyn Nudges>, PortError> {
        let subscribed = timeout(CONNECT_TIMEOUT, self.subscribe_to_nudges()).await;
        let late = |_| {
            PortError::Unavailable(format!("Redis did not let this process listen within {CONNECT_TIMEOUT:?}").into())
        };
        let (sink, messages) = subscribed.map_err(late)?.map_err(away)?.split();
        Ok(Box::new(Subscription { sink, messages }))
    }
}

impl Redis {
    async fn subscribe_to_nudges(&self) -> RedisResult<PubSub> {
        let mut subscriber = self.client.get_async_pubsub().await?;
        subscriber.subscribe(self.keys().nudges()).await?;
        Ok(subscriber)
    }
}

struct Subscription {
    sink: PubSubSink,
    messages: PubSubStream,
}

#[async_trait]
impl Nudges for Subscription {
    async fn next(&mut self) -> Option<JobId> {
        loop {
            let Ok(message) = timeout(ASK_EVERY, self.messages.next()).await else {
                // A connection that carries nothing any more is given up, and the caller opens another.
                timeout(RESPONSE_TIMEOUT, self.sink.ping::<redis::Value>()).await.ok()?.ok()?;
                continue;
            };
            // Whatever else somebody publishes here is none of ours.
            if let Ok(job) = String::from_utf8_lossy(message?.get_payload_bytes()).parse() {
                return Some(job);
            }
        }
    }
}
