//! The tickets and leases, and how the reconciler repairs them.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use events::ports::{LeaderLease, Lease, OpenJobs, PortError, Tickets, WorkStatePort};
use events::{ClassName, Job, JobId, StreamId, Ticket, UserId};
use projections::keys::WORKERS_GROUP;
use redis::{RedisResult, Script, Value};

use crate::faults::failpoint;
use crate::redis::commit::wire::encode_lease;
use crate::redis::connection::raw::{bytes, entries, items, named, parse};
use crate::redis::connection::trouble::{away, is_no_group};
use crate::redis::queue::job_queue::Pending;
use crate::redis::reads::job_status::Record;
use crate::redis::{Redis, redis_time};

/// How many tickets are read at a time.
const TICKETS_PAGE: usize = 1_000;

impl Redis {
    /// How many jobs have not ended.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn count_open_jobs(&self) -> Result<u64, PortError> {
        let mut connection = self.connection();
        redis::cmd("SCARD").arg(self.keys().open()).query_async(&mut connection).await.map_err(away)
    }
}

#[async_trait]
impl WorkStatePort for Redis {
    async fn take_leader_lease(&self, lease: LeaderLease, holder: &str, lasting: Duration) -> Result<bool, PortError> {
        let key = match lease {
            LeaderLease::Reconciling => self.keys().reconciler(),
            LeaderLease::Expiring => self.keys().expirer(),
            LeaderLease::Tracking => self.keys().tracker(),
        };
        Script::new(include_str!("take_leader_lease.lua"))
            .key(key)
            .arg(holder)
            .arg(lasting.as_millis().to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)
    }

    async fn open_jobs(&self, cursor: u64) -> Result<OpenJobs, PortError> {
        let mut read = redis::pipe();
        read.cmd("TIME").cmd("SSCAN").arg(self.keys().open()).arg(cursor).arg(&["COUNT", "500"]);
        let (time, (next, ids)): ((i64, i64), (u64, Vec<Vec<u8>>)) =
            read.query_async(&mut self.connection()).await.map_err(away)?;
        let ids: Vec<JobId> = ids.iter().filter_map(|id| parse(id)).collect();
        let mut page =
            OpenJobs { now: redis_time(time), jobs: vec![], without_status: vec![], unreadable: vec![], next };
        for (id, record) in ids.iter().zip(self.records_apart(&ids).await?) {
            match record {
                Record::Job(job) => page.jobs.push(*job),
                Record::Absent => page.without_status.push(*id),
                Record::Unreadable(why) => page.unreadable.push((*id, why)),
            }
        }
        Ok(page)
    }

    async fn tidy(&self, classes: &[ClassName]) -> Result<u64, PortError> {
        self.tidy_work(classes).await
    }

    async fn tidy_user(&self, user: &UserId) -> Result<u64, PortError> {
        self.tidy_slots(user).await
    }

    async fn tickets(&self, class: &ClassName) -> Result<Tickets, PortError> {
        let key = self.keys().queue(class);
        let mut connection = self.connection();
        let handed_out_to = self.handed_out_to(&key).await?;
        let held = self.held(&key).await?;
        let mut tickets = Tickets::default();
        let mut after = "-".to_owned();
        loop {
            let page: Value = redis::cmd("XRANGE")
                .arg(&[&key, &after, "+", "COUNT"])
                .arg(TICKETS_PAGE)
                .query_async(&mut connection)
                .await
                .map_err(away)?;
            let page = entries(&page);
            let Some(last) = page.last() else { return Ok(tickets) };
            after = format!("({}", last.id);
            for entry in &page {
                // Who claims what can't be read moves it into the quarantine.
                let Some(job) = entry.job() else { continue };
                let ticket = Ticket { class: class.clone(), id: entry.id };
                if handed_out_to.is_none_or(|last| ticket.id > last) || held.contains(&ticket.id) {
                    tickets.live.insert(job, ticket);
                } else {
                    tickets.stranded.push((ticket, job));
                }
            }
        }
    }

    async fn reissue_stranded(&self, ticket: &Ticket, job: JobId) -> Result<bool, PortError> {
        failpoint!("reissue_stranded.before");
        let done = Script::new(include_str!("reissue_stranded.lua"))
            .key(self.keys().queue(&ticket.class))
            .arg(ticket.id.to_string())
            .arg(job.to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        failpoint!("reissue_stranded.after");
        Ok(done)
    }

    async fn restore_ticket(&self, job: &Job) -> Result<bool, PortError> {
        failpoint!("restore_ticket.before");
        let done = Script::new(include_str!("restore_ticket.lua"))
            .key(self.keys().job(job.id))
            .key(self.keys().queue(&job.spec.class))
            .arg(job.version)
            .arg(job.id.to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        failpoint!("restore_ticket.after");
        Ok(done)
    }

    async fn restore_lease(&self, job: &Job, lease: &Lease) -> Result<bool, PortError> {
        failpoint!("restore_lease.before");
        let done = Script::new(include_str!("restore_lease.lua"))
            .key(self.keys().job(job.id))
            .key(self.keys().leases())
            .arg(job.version)
            .arg(job.id.to_string())
            .arg(encode_lease(lease))
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        failpoint!("restore_lease.after");
        Ok(done)
    }

    async fn drop_lease(&self, job: JobId, seen: &Lease) -> Result<bool, PortError> {
        failpoint!("drop_lease.before");
        let done = Script::new(include_str!("drop_lease.lua"))
            .key(self.keys().job(job))
            .key(self.keys().leases())
            .key(self.keys().queue(&seen.ticket.class))
            .arg(job.to_string())
            .arg(encode_lease(seen))
            .arg(seen.fence.as_str())
            .arg(seen.ticket.id.to_string())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        failpoint!("drop_lease.after");
        Ok(done)
    }
}

impl Redis {
    /// The last ticket that the group has received; `None` if there is no group, which begins with the first.
    async fn handed_out_to(&self, key: &str) -> Result<Option<StreamId>, PortError> {
        let groups: RedisResult<Value> =
            redis::cmd("XINFO").arg(&["GROUPS", key]).query_async(&mut self.connection()).await;
        let groups = match groups {
            // There is no such stream.
            Err(error) if error.code() == Some("ERR") => return Ok(None),
            groups => groups.map_err(away)?,
        };
        let is_workers = |group: &&Value| named(group, "name").and_then(bytes) == Some(WORKERS_GROUP.as_bytes());
        let workers = items(&groups).iter().find(is_workers);
        Ok(workers.and_then(|group| parse(bytes(named(group, "last-delivered-id")?)?)))
    }

    /// The tickets that a worker holds.
    async fn held(&self, key: &str) -> Result<HashSet<StreamId>, PortError> {
        let mut held = HashSet::new();
        let mut after = "-".to_owned();
        loop {
            let page: RedisResult<Vec<Pending>> = redis::cmd("XPENDING")
                .arg(&[key, WORKERS_GROUP, &after, "+"])
                .arg(TICKETS_PAGE)
                .query_async(&mut self.connection())
                .await;
            let page = match page {
                Err(error) if is_no_group(&error) => return Ok(held),
                page => page.map_err(away)?,
            };
            let Some((last, ..)) = page.last() else { return Ok(held) };
            after = format!("({}", String::from_utf8_lossy(last));
            held.extend(page.iter().filter_map(|(id, ..)| parse::<StreamId>(id)));
        }
    }
}
