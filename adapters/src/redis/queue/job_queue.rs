//! The work streams, their leases, and the consumers that hold them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{Claim, Heartbeat, JobQueuePort, Lease, PortError, QueueDepth, TicketReader, Unstarted};
use events::{ClassName, Consumer, Fence, JobId, Ticket};
use projections::keys::WORKERS_GROUP;
use redis::{RedisResult, Script, Value};

use super::reader::{Reader, read_tickets};
use crate::faults::failpoint;
use crate::redis::commit::wire::decode_lease;
use crate::redis::connection::raw::{RawEntry, entries, items, parse};
use crate::redis::connection::trouble::{away, corrupt, is_no_group};
use crate::redis::{Redis, redis_time};

/// How many entries of a pending list are read at a time.
const PENDING_PAGE: usize = 500;
/// How many pages of the delayed jobs are looked at for those that are due. An index that is right needs one.
const DUE_PAGES: usize = 8;

/// An entry of a pending list: the ticket, its holder, for how long, and how often it was delivered.
pub(crate) type Pending = (Vec<u8>, Vec<u8>, i64, u64);

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
            .map_err(away)?;
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
            .map_err(away)?;
        failpoint!("discard.after");
        Ok(())
    }

    async fn lease(&self, job: JobId) -> Result<Option<Lease>, PortError> {
        let lease: Option<Vec<u8>> = redis::cmd("HGET")
            .arg(self.keys().leases())
            .arg(job.to_string())
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        // A lease that can't be read counts as none.
        Ok(lease.and_then(|lease| decode_lease(std::str::from_utf8(&lease).ok()?)))
    }

    async fn leases(&self) -> Result<Vec<(JobId, Lease)>, PortError> {
        let readable = |(job, lease): &(Vec<u8>, Vec<u8>)| {
            Some((parse::<JobId>(job)?, decode_lease(std::str::from_utf8(lease).ok()?)?))
        };
        // A scan may give an entry twice. The reconciler sets aside what can't be read.
        let leases: HashMap<JobId, Lease> = self.raw_leases().await?.iter().filter_map(readable).collect();
        Ok(leases.into_iter().collect())
    }

    async fn unstarted(&self, class: &ClassName) -> Result<Vec<Unstarted>, PortError> {
        let key = self.keys().queue(class);
        let mut connection = self.connection();
        let mut found = Vec::new();
        let mut after = "-".to_owned();
        loop {
            let pending: RedisResult<Vec<Pending>> = redis::cmd("XPENDING")
                .arg(&[&key, WORKERS_GROUP, &after, "+"])
                .arg(PENDING_PAGE)
                .query_async(&mut connection)
                .await;
            let pending = match pending {
                Err(error) if is_no_group(&error) => return Ok(found),
                pending => pending.map_err(away)?,
            };
            let Some((last, ..)) = pending.last() else { return Ok(found) };
            after = format!("({}", String::from_utf8_lossy(last));
            found.extend(self.without_lease(&key, class, &pending).await?);
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
            .map_err(away)?;
        failpoint!("reissue.after");
        Ok(reissued)
    }

    async fn put_back(&self, consumer: &Consumer, claim: &Claim) -> Result<bool, PortError> {
        Script::new(include_str!("reissue.lua"))
            .key(self.keys().queue(&claim.ticket.class))
            .key(self.keys().leases())
            .arg(claim.ticket.id.to_string())
            .arg(consumer.as_str())
            .arg("")
            .arg(claim.job.to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)
    }

    async fn adopt(&self, from: &Consumer, to: &Consumer, classes: &[ClassName]) -> Result<Vec<Claim>, PortError> {
        let script = Script::new(include_str!("adopt.lua"));
        let mut adopted = Vec::new();
        for class in classes {
            loop {
                failpoint!("adopt.before");
                let (looked_at, claimed): (u64, Value) = script
                    .key(self.keys().queue(class))
                    .arg(from.as_str())
                    .arg(to.as_str())
                    .invoke_async(&mut self.connection())
                    .await
                    .map_err(away)?;
                failpoint!("adopt.after");
                if looked_at == 0 {
                    break;
                }
                adopted.extend(read_tickets(self, class, to, entries(&claimed)).await?);
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
                .map_err(away)?;
        }
        Ok(())
    }

    async fn due(&self, count: usize, longest_wait: Duration) -> Result<Vec<JobId>, PortError> {
        let mut connection = self.connection();
        let time = redis::cmd("TIME").query_async(&mut connection).await.map_err(away)?;
        let now = redis_time(time);
        let latest = now + longest_wait;
        let mut found: Vec<JobId> = Vec::new();
        for page in 0..DUE_PAGES {
            let mut read = redis::pipe();
            for (from, to) in [
                ("-inf".to_owned(), now.timestamp_millis().to_string()),
                (format!("({}", latest.timestamp_millis()), "+inf".to_owned()),
            ] {
                let delayed = self.keys().delayed();
                read.cmd("ZRANGE")
                    .arg(delayed)
                    .arg(from)
                    .arg(to)
                    .arg(&["BYSCORE", "LIMIT"])
                    .arg(page * count)
                    .arg(count);
            }
            let pages: [Vec<Vec<u8>>; 2] = read.query_async(&mut connection).await.map_err(away)?;
            // The reconciler sets aside what is no id. Until then it keeps nobody waiting.
            found.extend(pages.iter().flatten().filter_map(|id| parse::<JobId>(id)));
            if found.len() >= count || pages.iter().all(|page| page.len() < count) {
                break;
            }
        }
        found.truncate(count);
        Ok(found)
    }

    async fn depth(&self, class: &ClassName) -> Result<QueueDepth, PortError> {
        let key = self.keys().queue(class);
        let mut connection = self.connection();
        let len: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut connection).await.map_err(away)?;
        let pending: RedisResult<Value> =
            redis::cmd("XPENDING").arg(&key).arg(WORKERS_GROUP).query_async(&mut connection).await;
        let claimed = match pending {
            Ok(reply) => match items(&reply).first() {
                Some(Value::Int(count)) => u64::try_from(*count).unwrap_or_default(),
                _ => 0,
            },
            Err(error) if is_no_group(&error) => 0,
            Err(error) => return Err(away(error)),
        };
        Ok(QueueDepth { waiting: len.saturating_sub(claimed), claimed })
    }
}

impl Redis {
    /// Returns the pending entries whose jobs have no lease. The holder of an unreadable entry quarantines it.
    async fn without_lease(
        &self,
        key: &str,
        class: &ClassName,
        pending: &[Pending],
    ) -> Result<Vec<Unstarted>, PortError> {
        let mut connection = self.connection();
        let mut read = redis::pipe();
        for (id, ..) in pending {
            read.cmd("XRANGE").arg(key).arg(id).arg(id);
        }
        let replies: Vec<Value> = read.query_async(&mut connection).await.map_err(away)?;
        let mut found = Vec::new();
        for ((id, holder, _, deliveries), reply) in pending.iter().zip(replies) {
            let job = entries(&reply).first().and_then(RawEntry::job);
            let (Some(job), Some(holder), Some(id)) = (job, parse(holder), parse(id)) else { continue };
            let ticket = Ticket { class: class.clone(), id };
            found.push(Unstarted { ticket, job, holder, deliveries: *deliveries });
        }
        let mut leased = redis::pipe();
        for ticket in &found {
            leased.cmd("HEXISTS").arg(self.keys().leases()).arg(ticket.job.to_string());
        }
        if found.is_empty() {
            return Ok(found);
        }
        let leased: Vec<bool> = leased.query_async(&mut connection).await.map_err(away)?;
        let mut leased = leased.into_iter();
        found.retain(|_| !leased.next().unwrap_or(false));
        Ok(found)
    }
}
