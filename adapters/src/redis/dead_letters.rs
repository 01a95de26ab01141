//! The dead letters and the quarantine.

use async_trait::async_trait;
use events::ports::{DeadLetterPort, DeadLetterQuery, JobPage, PortError, Quarantined, Unreadable};
use events::{JobId, JobState, Ticket};
use redis::streams::{StreamId as Entry, StreamRangeReply};

use super::index::{MAX_ENTRIES_A_PAGE, MAX_PAGE};
use super::{Redis, away, corrupt, parse_stream_id};

#[async_trait]
impl DeadLetterPort for Redis {
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<JobPage, PortError> {
        let key = self.keys().dead_letters();
        let mut page = JobPage { next: query.cursor, ..JobPage::default() };
        let mut left = MAX_ENTRIES_A_PAGE;
        while left > 0 {
            let places = self.index(&key, page.next, query.limit.clamp(1, MAX_PAGE).min(left)).await?;
            if places.is_empty() {
                page.next = None;
                return Ok(page);
            }
            left -= places.len();
            let ids: Vec<JobId> = places.iter().map(|place| place.id).collect();
            for (place, job) in places.iter().zip(self.read_each_job(&ids).await?) {
                // Newest first: what follows is older still.
                if query.since.is_some_and(|since| place.created_ms < since.timestamp_millis()) {
                    page.next = None;
                    return Ok(page);
                }
                page.next = Some(*place);
                let job = match job {
                    Ok(job) => job,
                    Err(reason) => {
                        page.unreadable.push(Unreadable { id: place.id, reason });
                        continue;
                    }
                };
                // One that was replayed since the index was read is none any more.
                let wanted = job.filter(|job| match &job.state {
                    JobState::DeadLettered(ended) => query.wants(&job.spec.user, ended.why.kind, ended.at),
                    _ => false,
                });
                page.jobs.extend(wanted);
                if page.jobs.len() == query.limit {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, PortError> {
        let reply: StreamRangeReply = redis::cmd("XREVRANGE")
            .arg(&[&self.keys().quarantine(), "+", "-", "COUNT"])
            .arg(limit)
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        Ok(reply.ids.iter().filter_map(|entry| read_quarantined(entry).ok()).collect())
    }

    async fn purge_quarantine(&self) -> Result<u64, PortError> {
        let mut purge = redis::pipe();
        purge.atomic().cmd("XLEN").arg(self.keys().quarantine()).cmd("DEL").arg(self.keys().quarantine()).ignore();
        let (count,): (u64,) = purge.query_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        Ok(count)
    }
}

fn read_quarantined(entry: &Entry) -> Result<Quarantined, PortError> {
    let missing = || corrupt(format!("entry {} of the quarantine names no ticket", entry.id));
    let text = |field: &str| entry.get::<String>(field).ok_or_else(missing);
    let class = text("class")?.parse().map_err(corrupt)?;
    let ticket = Ticket { class, id: parse_stream_id(&text("ticket")?)? };
    let raw = |(field, value): (&String, &redis::Value)| {
        let bytes = redis::from_redis_value_ref::<Vec<u8>>(value).ok()?;
        Some((field.strip_prefix("raw:")?.to_owned(), bytes))
    };
    Ok(Quarantined { ticket, fields: entry.map.iter().filter_map(raw).collect() })
}

impl Redis {
    /// How many dead letters there are.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn count_dead_letters(&self) -> Result<u64, PortError> {
        let mut connection = self.connection();
        let key = self.keys().dead_letters();
        redis::cmd("ZCARD").arg(key).query_async(&mut connection).await.map_err(|error| away(&error))
    }
}
