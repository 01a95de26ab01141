//! The work streams, their leases, and the consumers that hold them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{Claim, Heartbeat, JobQueuePort, Lease, PortError, QueueDepth, TicketReader, Unstarted};
use events::{ClassName, Consumer, Fence, JobId, Ticket, seeded_bug};
use projections::keys::WORKERS_GROUP;
use redis::RedisResult;
use redis::Script;
use redis::streams::{StreamClaimReply, StreamPendingReply, StreamRangeReply};

use super::reader::{Reader, read_tickets};
use super::wire::{TICKET_JOB, decode_lease};
use super::{Redis, away, corrupt, is_no_group, parse_stream_id, redis_time};
use crate::faults::failpoint;

/// How many entries of a pending list are read at a time.
const PENDING_PAGE: usize = 500;

#[async_trait]
impl JobQueuePort for Redis {
    async fn reader(&self, consumer: &Consumer, classes: &[ClassName]) -> Result<Box<dyn TicketReader>, PortError> {
        Ok(Box::new(Reader::new(self.clone(), consumer.clone(), classes)))
    }

    async fn heartbeat(&self, job: JobId, fence: &Fence, consumer: &Consumer) -> Result<Heartbeat, PortError> {
        failpoint!("heartbeat.before");
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
        failpoint!("heartbeat.after");
        match answer.as_str() {
            "ok" => Ok(Heartbeat::Ok),
            "cancel" => Ok(Heartbeat::Cancel),
            "lost" => Ok(Heartbeat::Lost),
            other => Err(corrupt(format!("{other:?} is no answer to a heartbeat"))),
        }
    }

    async fn discard(&self, consumer: &Consumer, ticket: &Ticket) -> Result<(), PortError> {
        failpoint!("discard.before");
        let _: u8 = Script::new(include_str!("discard.lua"))
            .key(self.keys().queue(&ticket.class))
            .arg(ticket.id.to_string())
            .arg(consumer.as_str())
            .invoke_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        failpoint!("discard.after");
        Ok(())
    }

    async fn lease(&self, job: JobId) -> Result<Option<Lease>, PortError> {
        let lease: Option<String> = redis::cmd("HGET")
            .arg(self.keys().leases())
            .arg(job.to_string())
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        lease
            .map(|text| decode_lease(&text).ok_or_else(|| corrupt(format!("the lease of job {job} can't be read"))))
            .transpose()
    }

    async fn leases(&self) -> Result<Vec<(JobId, Lease)>, PortError> {
        let mut connection = self.connection();
        let mut leases = HashMap::new();
        let mut cursor = 0_u64;
        loop {
            let (next, page): (u64, Vec<(String, String)>) = redis::cmd("HSCAN")
                .arg(self.keys().leases())
                .arg(cursor)
                .arg(&["COUNT", "500"])
                .query_async(&mut connection)
                .await
                .map_err(|error| away(&error))?;
            for (job, lease) in page {
                let job: JobId = job.parse().map_err(corrupt)?;
                let lease =
                    decode_lease(&lease).ok_or_else(|| corrupt(format!("the lease of job {job} can't be read")))?;
                // A scan may give an entry twice.
                leases.insert(job, lease);
            }
            cursor = next;
            if cursor == 0 {
                return Ok(leases.into_iter().collect());
            }
        }
    }

    async fn unstarted(&self, class: &ClassName) -> Result<Vec<Unstarted>, PortError> {
        let key = self.keys().queue(class);
        let mut connection = self.connection();
        let mut found = Vec::new();
        let mut after = "-".to_owned();
        loop {
            let pending: RedisResult<Vec<(String, String, u64, u64)>> = redis::cmd("XPENDING")
                .arg(&[&key, WORKERS_GROUP, &after, "+"])
                .arg(PENDING_PAGE)
                .query_async(&mut connection)
                .await;
            let pending = match pending {
                Err(error) if is_no_group(&error) => return Ok(found),
                pending => pending.map_err(|error| away(&error))?,
            };
            let Some((last, ..)) = pending.last() else { return Ok(found) };
            after = format!("({last}");
            found.extend(self.without_lease(&key, class, &pending).await?);
            if seeded_bug!("cursor_not_carried") {
                return Ok(found);
            }
        }
    }

    async fn reissue(&self, ticket: &Unstarted) -> Result<bool, PortError> {
        failpoint!("reissue.before");
        let reissued = Script::new(include_str!("reissue.lua"))
            .key(self.keys().queue(&ticket.ticket.class))
            .key(self.keys().leases())
            .arg(ticket.ticket.id.to_string())
            .arg(ticket.holder.as_str())
            .arg(ticket.deliveries)
            .arg(ticket.job.to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        failpoint!("reissue.after");
        Ok(reissued)
    }

    async fn adopt(&self, from: &Consumer, to: &Consumer, classes: &[ClassName]) -> Result<Vec<Claim>, PortError> {
        let script = Script::new(include_str!("adopt.lua"));
        let mut adopted = Vec::new();
        if seeded_bug!("delconsumer_on_restart") {
            for class in classes {
                let key = self.keys().queue(class);
                let mut remove = redis::cmd("XGROUP");
                remove.arg(&["DELCONSUMER", &key, WORKERS_GROUP, from.as_str()]);
                let removed: Result<redis::Value, _> = remove.query_async(&mut self.connection()).await;
                removed.map_err(|error| away(&error))?;
            }
        }
        for class in classes {
            loop {
                failpoint!("adopt.before");
                let (looked_at, claimed): (u64, StreamClaimReply) = script
                    .key(self.keys().queue(class))
                    .arg(from.as_str())
                    .arg(to.as_str())
                    .invoke_async(&mut self.connection())
                    .await
                    .map_err(|error| away(&error))?;
                failpoint!("adopt.after");
                if looked_at == 0 {
                    break;
                }
                adopted.extend(read_tickets(self, class, to, claimed.ids).await?);
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

    async fn due(&self, count: usize, longest_wait: Duration) -> Result<Vec<JobId>, PortError> {
        let mut connection = self.connection();
        let time = redis::cmd("TIME").query_async(&mut connection).await.map_err(|error| away(&error))?;
        let now = redis_time(time);
        let latest = now + longest_wait;
        let mut read = redis::pipe();
        for (from, to) in [
            ("-inf".to_owned(), now.timestamp_millis().to_string()),
            (format!("({}", latest.timestamp_millis()), "+inf".to_owned()),
        ] {
            read.cmd("ZRANGE").arg(self.keys().delayed()).arg(from).arg(to).arg(&["BYSCORE", "LIMIT", "0"]).arg(count);
        }
        let (due, stranded): (Vec<String>, Vec<String>) =
            read.query_async(&mut connection).await.map_err(|error| away(&error))?;
        due.iter().chain(&stranded).take(count).map(|id| id.parse().map_err(corrupt)).collect()
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

impl Redis {
    /// Those of some pending entries whose job no lease names. What can't be read is for its holder to quarantine.
    async fn without_lease(
        &self,
        key: &str,
        class: &ClassName,
        pending: &[(String, String, u64, u64)],
    ) -> Result<Vec<Unstarted>, PortError> {
        let mut connection = self.connection();
        let mut read = redis::pipe();
        for (id, ..) in pending {
            read.cmd("XRANGE").arg(&[key, id, id]);
        }
        let replies: Vec<StreamRangeReply> = read.query_async(&mut connection).await.map_err(|error| away(&error))?;
        let mut found = Vec::new();
        for ((id, holder, _, deliveries), reply) in pending.iter().zip(replies) {
            let job = reply.ids.first().and_then(|entry| entry.get::<String>(TICKET_JOB)?.parse::<JobId>().ok());
            let (Some(job), Ok(holder)) = (job, holder.parse()) else { continue };
            let ticket = Ticket { class: class.clone(), id: parse_stream_id(id)? };
            found.push(Unstarted { ticket, job, holder, deliveries: *deliveries });
        }
        let mut leased = redis::pipe();
        for ticket in &found {
            leased.cmd("HEXISTS").arg(self.keys().leases()).arg(ticket.job.to_string());
        }
        if found.is_empty() {
            return Ok(found);
        }
        let leased: Vec<bool> = leased.query_async(&mut connection).await.map_err(|error| away(&error))?;
        let mut leased = leased.into_iter();
        found.retain(|_| !leased.next().unwrap_or(false));
        Ok(found)
    }
}
