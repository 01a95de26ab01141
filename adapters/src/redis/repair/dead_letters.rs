//! The dead letters and the quarantine.

use async_trait::async_trait;
use events::ports::{DeadLetterPort, DeadLetterQuery, JobPage, PortError, Quarantined, Unreadable};
use events::{JobId, JobState};
use redis::Value;

use crate::redis::Redis;
use crate::redis::connection::raw::{RawEntry, entries};
use crate::redis::connection::trouble::away;
use crate::redis::reads::index::{MAX_ENTRIES_A_PAGE, MAX_PAGE};
use crate::redis::reads::job_status::Record;

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
            for (place, record) in places.iter().zip(self.records_apart(&ids).await?) {
                // Newest first: what follows is older still.
                if query.since.is_some_and(|since| place.created_ms < since.timestamp_millis()) {
                    page.next = None;
                    return Ok(page);
                }
                page.next = Some(*place);
                let job = match record {
                    Record::Job(job) => job,
                    Record::Absent => continue,
                    Record::Unreadable(reason) => {
                        page.unreadable.push(Unreadable { id: place.id, reason });
                        continue;
                    }
                };
                // One that was replayed since the index was read is none any more.
                let wanted = match &job.state {
                    JobState::DeadLettered(ended) => query.wants(&job.spec.user, ended.why.kind, ended.at),
                    _ => false,
                };
                page.jobs.extend(wanted.then_some(*job));
                if page.jobs.len() == query.limit {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, PortError> {
        let reply: Value = redis::cmd("XREVRANGE")
            .arg(&[&self.keys().quarantine(), "+", "-", "COUNT"])
            .arg(limit)
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        Ok(entries(&reply).iter().map(read_quarantined).collect())
    }

    async fn purge_quarantine(&self) -> Result<u64, PortError> {
        let mut purge = redis::pipe();
        purge.atomic().cmd("XLEN").arg(self.keys().quarantine()).cmd("DEL").arg(self.keys().quarantine()).ignore();
        let (count,): (u64,) = purge.query_async(&mut self.connection()).await.map_err(away)?;
        Ok(count)
    }
}

/// Tickets name their class, all else the key that it was in.
fn read_quarantined(entry: &RawEntry) -> Quarantined {
    let text = |name: &str| entry.field(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let from = text("class").map(|class| format!("queue:{class}")).or_else(|| {
        let key = text("from")?;
        Some(key.split_once("}:").map_or(key.clone(), |(_, name)| name.to_owned()))
    });
    let raw = |(field, content): &(Vec<u8>, Vec<u8>)| {
        let field = field.strip_prefix(b"raw:")?;
        Some((String::from_utf8_lossy(field).into_owned(), content.clone()))
    };
    Quarantined {
        from: from.unwrap_or_default(),
        entry: entry.field("ticket").or_else(|| entry.field("entry")).unwrap_or_default().to_vec(),
        fields: entry.fields.iter().filter_map(raw).collect(),
    }
}

impl Redis {
    /// How many dead letters there are.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn count_dead_letters(&self) -> Result<u64, PortError> {
        let mut connection = self.connection();
        let key = self.keys().dead_letters();
        redis::cmd("ZCARD").arg(key).query_async(&mut connection).await.map_err(away)
    }
}
