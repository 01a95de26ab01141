//! Nudges, by Redis's publish and subscribe.

use async_trait::async_trait;
use events::JobId;
use events::ports::{NudgePort, Nudges, PortError};
use futures::StreamExt;
use redis::aio::PubSubStream;

use super::{Redis, away};

#[async_trait]
impl NudgePort for Redis {
    async fn nudge(&self, job: JobId) -> Result<(), PortError> {
        redis::cmd("PUBLISH")
            .arg(self.keys().nudges())
            .arg(job.to_string())
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))
    }

    async fn nudges(&self) -> Result<Box<dyn Nudges>, PortError> {
        let mut subscriber = self.client.get_async_pubsub().await.map_err(|error| away(&error))?;
        subscriber.subscribe(self.keys().nudges()).await.map_err(|error| away(&error))?;
        Ok(Box::new(Subscription(subscriber.into_on_message())))
    }
}

struct Subscription(PubSubStream);

#[async_trait]
impl Nudges for Subscription {
    async fn next(&mut self) -> Option<JobId> {
        loop {
            let message = self.0.next().await?;
            // Whatever else somebody publishes here is none of ours.
            if let Ok(job) = String::from_utf8_lossy(message.get_payload_bytes()).parse() {
                return Some(job);
            }
        }
    }
}
