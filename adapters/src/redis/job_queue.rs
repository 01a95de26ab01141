//! The work streams, their leases, and the consumers that hold them.

use async_trait::async_trait;
use events::ports::{Claim, Heartbeat, JobQueuePort, Lease, PortError, QueueDepth, TicketReader};
use events::{ClassName, Consumer, Fence, JobId, Ticket};
use projections::keys::WORKERS_GROUP;
use redis::Script;
use redis::streams::{StreamClaimReply, StreamPendingReply};

use super::reader::{Reader, read_tickets};
use super::{Redis, away, corrupt, is_no_group, parse_stream_id, redis_time};

#[async_trait]
impl JobQueuePort for Redis {
    async fn reader(&self, consumer: &Consumer, classes: &[ClassName]) -> Result<Box<dyn TicketReader>, PortError> {
        Ok(Box::new(Reader::new(self.clone(), consumer.clone(), classes)))
    }

    async fn heartbeat(&self, job: JobId, fence: &Fence, consumer: &Consumer) -> Result<Heartbeat, PortError> {
        let answer: String = Script::new(include_str!("heartbeat.lua"))
            .key(self.keys().job(job))
            .key(self.keys().leases())
            .arg(job.to_string())
            .arg(fence.as_str())
            .arg(consumer.as_str())
            .arg(self.keys().queue_prefix())
            .invoke_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        match answer.as_str() {
            "ok" => Ok(Heartbeat::Ok),
            "cancel" => Ok(Heartbeat::Cancel),
            "lost" => Ok(Heartbeat::Lost),
            other => Err(corrupt(format!("{other:?} is no answer to a heartbeat"))),
        }
    }

    async fn discard(&self, consumer: &Consumer, ticket: &Ticket) -> Result<(), PortError> {
        Script::new(include_str!("discard.lua"))
            .key(self.keys().queue(&ticket.class))
            .arg(ticket.id.to_string())
            .arg(consumer.as_str())
            .invoke_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))
    }

    async fn lease(&self, job: JobId) -> Result<Option<Lease>, PortError> {
        let lease: Option<String> = redis::cmd("HGET")
            .arg(self.keys().leases())
            .arg(job.to_string())
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        lease
            .map(|text| parse_lease(&text).ok_or_else(|| corrupt(format!("the lease of job {job} can't be read"))))
            .transpose()
    }

    async fn adopt(&self, from: &Consumer, to: &Consumer, classes: &[ClassName]) -> Result<Vec<Claim>, PortError> {
        let script = Script::new(include_str!("adopt.lua"));
        let mut adopted = Vec::new();
        for class in classes {
            loop {
                let reply: StreamClaimReply = script
                    .key(self.keys().queue(class))
                    .arg(from.as_str())
                    .arg(to.as_str())
                    .invoke_async(&mut self.connection())
                    .await
                    .map_err(|error| away(&error))?;
                if reply.ids.is_empty() {
                    break;
                }
                adopted.extend(read_tickets(self, class, to, reply.ids).await?);
            }
        }
        Ok(adopted)
    }

    async fn retire(&self, consumer: &Consumer, classes: &[ClassName]) -> Result<(), PortError> {
        let script = Script::new(include_str!("adopt.lua"));
        for class in classes {
            let _: redis::Value = script
                .key(self.keys().queue(class))
                .arg(consumer.as_str())
                .invoke_async(&mut self.connection())
                .await
                .map_err(|error| away(&error))?;
        }
        Ok(())
    }

    async fn due(&self, count: usize) -> Result<Vec<JobId>, PortError> {
        let mut connection = self.connection();
        let time = redis::cmd("TIME").query_async(&mut connection).await.map_err(|error| away(&error))?;
        let due: Vec<String> = redis::cmd("ZRANGE")
            .arg(self.keys().delayed())
            .arg("-inf")
            .arg(redis_time(time).timestamp_millis())
            .arg(&["BYSCORE", "LIMIT", "0"])
            .arg(count)
            .query_async(&mut connection)
            .await
            .map_err(|error| away(&error))?;
        due.iter().map(|id| id.parse().map_err(corrupt)).collect()
    }

    async fn depth(&self, class: &ClassName) -> Result<QueueDepth, PortError> {
        let key = self.keys().queue(class);
        let mut connection = self.connection();
        let len: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut connection).await.map_err(|error| away(&error))?;
        let pending = redis::cmd("XPENDING").arg(&key).arg(WORKERS_GROUP).query_async(&mut connection).await;
        let claimed = match pending {
            Ok(StreamPendingReply::Data(data)) => data.count as u64,
            Ok(_) => 0,
            Err(error) if is_no_group(&error) => 0,
            Err(error) => return Err(away(&error)),
        };
        Ok(QueueDepth { waiting: len.saturating_sub(claimed), claimed })
    }
}

/// Reads a lease in the form that `wire::encode_work` writes.
fn parse_lease(text: &str) -> Option<Lease> {
    let parts: Vec<&str> = text.split(' ').collect();
    let [fence, beat, lease_ms, worker, class, ticket] = parts[..] else {
        return None;
    };
    Some(Lease {
        fence: fence.parse().ok()?,
        beat: beat.parse().ok()?,
        lease_ms: lease_ms.parse().ok()?,
        worker: worker.parse().ok()?,
        ticket: Ticket { class: class.parse().ok()?, id: parse_stream_id(ticket).ok()? },
    })
}
