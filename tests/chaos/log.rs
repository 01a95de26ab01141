//! The log as anybody can read it: by XRANGE, without a line of the program's own code.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamId, StreamRangeReply};
use serde_json::Value;
use tokio::time::{sleep, timeout};

/// The stream that is the log.
pub(crate) const LOG: &str = "{leaderboard:main}:events";
const PAGE: usize = 1_000;
const POLL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

/// What happened to a job, as far as the log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A worker of this name began to run it.
    Started(String),
    /// Its worker no longer holds it.
    LeaseLost,
    /// It came to this end.
    Ended(End),
    /// It was run again after its end.
    Replayed,
    /// Anything else.
    Other,
}

/// How a job can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Completed,
    Failed,
    Cancelled,
    DeadLettered,
}

/// One thing that happened to a job, and when it was seen, by this process's own monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) what: Happened,
    pub(crate) at: Instant,
}

/// Every job's story.
pub(crate) type Stories = HashMap<String, Vec<Seen>>;

/// Reads on in the log for as long as it lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Follower(Arc<Mutex<Told>>);

/// What the log has told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) stories: Stories,
    /// The jobs that have not ended.
    pub(crate) open: HashMap<String, Option<String>>,
    pub(crate) entries: u64,
    last: Option<String>,
}

impl Follower {
    /// Follows the log of the Redis at this address, through all its absences.
    pub(crate) fn of(url: &str) -> Self {
        let follower = Self::default();
        let (told, client) = (follower.clone(), redis::Client::open(url).expect("a valid address"));
        tokio::spawn(async move {
            loop {
                if let Ok(Ok(mut redis)) = timeout(PATIENCE, client.get_multiplexed_async_connection()).await {
                    while told.read_on(&mut redis).await.is_ok() {
                        sleep(POLL).await;
                    }
                }
                sleep(POLL).await;
            }
        });
        follower
    }

    /// What it has read so far.
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_on(&self, redis: &mut MultiplexedConnection) -> Result<(), redis::RedisError> {
        loop {
            let from = self.told().last.as_ref().map_or_else(|| "-".to_owned(), |last| format!("({last}"));
            let page = page(redis, &from).await?;
            let (full, at) = (page.len() == PAGE, Instant::now());
            let mut told = self.told();
            for entry in &page {
                told.hear(entry, at);
            }
            if !full {
                return Ok(());
            }
        }
    }
}

impl Told {
    fn hear(&mut self, entry: &StreamId, at: Instant) {
        self.last = Some(entry.id.clone());
        self.entries += 1;
        let Some((job, what)) = happened(entry) else { return };
        match &what {
            Happened::Ended(_) => {
                self.open.remove(&job);
            }
            Happened::Started(worker) => {
                self.open.insert(job.clone(), Some(worker.clone()));
            }
            Happened::LeaseLost | Happened::Replayed => {
                self.open.insert(job.clone(), None);
            }
            Happened::Other => {
                self.open.entry(job.clone()).or_default();
            }
        }
        self.stories.entry(job).or_default().push(Seen { what, at });
    }
}

/// The whole log, read anew.
///
/// # Errors
/// If Redis does not answer.
pub(crate) async fn entries(redis: &mut MultiplexedConnection) -> Result<Vec<StreamId>, redis::RedisError> {
    let mut entries: Vec<StreamId> = Vec::new();
    loop {
        let from = entries.last().map_or_else(|| "-".to_owned(), |last| format!("({}", last.id));
        let page = page(redis, &from).await?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

/// Every job's story, read anew.
///
/// # Errors
/// If Redis does not answer.
pub(crate) async fn stories(redis: &mut MultiplexedConnection) -> Result<Stories, redis::RedisError> {
    let mut told = Told::default();
    for entry in entries(redis).await? {
        told.hear(&entry, Instant::now());
    }
    Ok(told.stories)
}

async fn page(redis: &mut MultiplexedConnection, from: &str) -> Result<Vec<StreamId>, redis::RedisError> {
    let mut range = redis::cmd("XRANGE");
    let page: StreamRangeReply = range.arg(LOG).arg(from).arg("+").arg("COUNT").arg(PAGE).query_async(redis).await?;
    Ok(page.ids)
}

/// Whose story an entry is part of, and what it tells.
fn happened(entry: &StreamId) -> Option<(String, Happened)> {
    let aggregate: String = entry.get("agg")?;
    let job = aggregate.strip_prefix("job:")?.to_owned();
    let kind: String = entry.get("type")?;
    let what = match kind.as_str() {
        "job.started" => {
            let data: Value = serde_json::from_str(&entry.get::<String>("data")?).ok()?;
            Happened::Started(data["worker"].as_str()?.to_owned())
        }
        "job.lease_lost" => Happened::LeaseLost,
        "job.completed" => Happened::Ended(End::Completed),
        "job.failed" => Happened::Ended(End::Failed),
        "job.cancelled" => Happened::Ended(End::Cancelled),
        "job.dead_lettered" => Happened::Ended(End::DeadLettered),
        "job.replayed" => Happened::Replayed,
        _ => Happened::Other,
    };
    Some((job, what))
}
