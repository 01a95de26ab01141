//! Logs as segments in a bucket. While a job runs, its worker has not sent the end of its log yet:
//! readers in the worker's own process read its local file, others the live log, where that continues the segments.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use events::ports::{LogChunk, LogPort, LogWriter, PortError};
use events::{Fence, JobId};

use super::log_outbox::{Outbox, Writer};
use super::log_segments::{self, BETWEEN_LISTINGS, Extent, Run, Segments};
use super::store::{Store, Written};
use crate::redis::Redis;

/// How often the end of a lost worker's log is tried to be written: each time somebody else wrote there first.
const CUTS: usize = 3;
const CUT_NOTE: &str =
    "\n[leadersboard] the worker was lost: what it printed in its last 10 seconds, at most 4 MiB, may be missing\n";

/// Logs in a bucket.
#[derive(Clone)]
pub struct ObjectLogs {
    store: Store,
    /// Where the local files are that hold what is not sent yet.
    spool: PathBuf,
    segments: Segments,
    /// Has the newest of what runs print, on any host.
    live: Option<Redis>,
    /// The logs that this process writes.
    own: Arc<Mutex<HashMap<Run, Weak<Outbox>>>>,
}

impl ObjectLogs {
    /// The logs in a bucket, with local files in the folder `spool`. Without `live` nothing is seen that is not sent yet
    /// by another process.
    #[must_use]
    pub fn new(store: Store, spool: PathBuf, live: Option<Redis>) -> Self {
        // Nobody follows logs that are only copied.
        let between_listings = if live.is_some() { BETWEEN_LISTINGS } else { Duration::ZERO };
        Self { segments: Segments::new(store.clone(), between_listings), store, spool, live, own: Arc::default() }
    }

    fn own(&self, run: &Run) -> Option<Arc<Outbox>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).get(run)?.upgrade()
    }

    /// What the live log has that continues the segments, in one piece.
    async fn live(&self, run: &Run, extent: Extent) -> Result<Bytes, PortError> {
        let Some(live) = self.live.as_ref().filter(|_| !extent.is_cut) else { return Ok(Bytes::new()) };
        Ok(continued(extent.end, live.live_chunks(run.0, &run.1, extent.end).await?))
    }

    /// What was printed from an offset on, as far as one look tells.
    async fn read_some(&self, run: &Run, offset: u64, max: usize) -> Result<Bytes, PortError> {
        let known = self.segments.read(run, offset, max).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        let extent = self.segments.extent(run).await?;
        if offset < extent.end {
            return Ok(self.segments.read(run, offset, max).await?);
        }
        let live = self.live(run, extent).await?;
        let skip = usize::try_from(offset - extent.end).unwrap_or(usize::MAX).min(live.len());
        Ok(live.slice(skip..live.len().min(skip.saturating_add(max))))
    }
}

/// The bytes of chunks that follow one another from an offset on; what is behind a gap is not among them.
fn continued(from: u64, chunks: Vec<LogChunk>) -> Bytes {
    let mut bytes = BytesMut::new();
    for chunk in chunks {
        let at = from + bytes.len() as u64;
        if chunk.offset > at {
            break;
        }
        let seen = usize::try_from(at - chunk.offset).unwrap_or(usize::MAX);
        bytes.extend_from_slice(chunk.bytes.get(seen..).unwrap_or_default());
    }
    bytes.freeze()
}

#[async_trait]
impl LogPort for ObjectLogs {
    async fn create(&self, job: JobId, fence: &Fence) -> Result<Box<dyn LogWriter>, PortError> {
        let run = (job, fence.clone());
        let outbox = Outbox::begin(self.store.clone(), run.clone(), self.spool.clone()).await?;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|_, outbox| outbox.strong_count() > 0);
        own.insert(run, Arc::downgrade(&outbox));
        Ok(Box::new(Writer::of(outbox)))
    }

    async fn len(&self, job: JobId, fence: &Fence) -> Result<Option<u64>, PortError> {
        let run = (job, fence.clone());
        if let Some(own) = self.own(&run) {
            return Ok(Some(own.len()));
        }
        let extent = self.segments.extent(&run).await?;
        let live = self.live(&run, extent).await?.len() as u64;
        Ok((extent.is_begun || live > 0).then_some(extent.end + live))
    }

    async fn read(&self, job: JobId, fence: &Fence, offset: u64, max: usize) -> Result<Bytes, PortError> {
        let run = (job, fence.clone());
        if let Some(own) = self.own(&run) {
            return own.read(offset, max).await;
        }
        let mut found = self.read_some(&run, offset, max).await?;
        while !found.is_empty() && found.len() < max {
            let more = self.read_some(&run, offset + found.len() as u64, max - found.len()).await?;
            if more.is_empty() {
                break;
            }
            found = [found, more].concat().into();
        }
        Ok(found)
    }

    async fn delete(&self, job: JobId) -> Result<(), PortError> {
        self.segments.forget(|run| run.0 == job);
        self.own.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| run.0 != job);
        Ok(self.store.delete_all(&log_segments::of_job(job)).await?)
    }

    async fn cut_off(&self, job: JobId, fence: &Fence) -> Result<(), PortError> {
        let run = (job, fence.clone());
        for _ in 0..CUTS {
            let extent = self.segments.extent(&run).await?;
            if !extent.is_begun || extent.is_cut {
                return Ok(());
            }
            let live = self.live(&run, extent).await?;
            let end = [&live[..], CUT_NOTE.as_bytes()].concat();
            if self.store.create(&log_segments::key(&run, extent.end), end.into()).await? == Written::Yes {
                return Ok(self.store.put(&log_segments::cut(&run), Bytes::new()).await?);
            }
        }
        Err(PortError::Unavailable("the log of a lost worker is still being written".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, text: &'static str) -> LogChunk {
        LogChunk { offset, bytes: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn the_live_log_goes_on_where_the_segments_end_and_stops_at_a_gap() {
        for (from, chunks, expected) in [
            (10, vec![], ""),
            (10, vec![chunk(10, "ab"), chunk(12, "c")], "abc"),
            (10, vec![chunk(8, "xyab"), chunk(12, "c")], "abc"),
            (10, vec![chunk(5, "xyz"), chunk(10, "ab")], "ab"),
            (10, vec![chunk(10, "ab"), chunk(13, "d")], "ab"),
            (10, vec![chunk(11, "b"), chunk(10, "ab")], ""),
        ] {
            assert_eq!(continued(from, chunks), expected);
        }
    }
}
