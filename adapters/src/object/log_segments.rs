//! The segments of a run's log in a bucket: `logs/<job>/<fence>/<offset of the first byte, 20 digits>`.
//!
//! The names are the index: one listing tells where each byte is. `begun` says that there is a log, `cut` that its worker
//! was lost and nothing follows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use events::{Fence, JobId};
use futures::TryStreamExt;
use tokio::time::{Instant, sleep_until};

use super::keys::{BEGUN, LOGS};
use super::store::Store;
use super::trouble::StoreError;

const CUT: &str = "cut";
/// How often a log is listed, at most, however many readers follow it.
pub(super) const BETWEEN_LISTINGS: Duration = Duration::from_millis(250);
/// How many logs' segments are remembered.
const KNOWN_LOGS: usize = 256;
/// How much of a segment is read at once, and how many such blocks are kept: readers go on where they were.
const BLOCK_BYTES: u64 = 1 << 20;
const BLOCKS: usize = 16;

/// The log of one run.
pub(super) type Run = (JobId, Fence);

/// The folder of the logs of a job.
pub(super) fn of_job(job: JobId) -> String {
    format!("{LOGS}/{job}")
}

fn folder((job, fence): &Run) -> String {
    format!("{LOGS}/{job}/{fence}")
}

/// The key of the segment that begins at an offset.
pub(super) fn key(run: &Run, offset: u64) -> String {
    format!("{}/{offset:020}", folder(run))
}

/// The key that says that there is a log.
pub(super) fn begun(run: &Run) -> String {
    format!("{}/{BEGUN}", folder(run))
}

/// The key that says that its worker was lost.
pub(super) fn cut(run: &Run) -> String {
    format!("{}/{CUT}", folder(run))
}

/// Where the bytes of a log are.
#[derive(Debug, Clone, Default)]
struct Index {
    /// The offsets of the first bytes and the lengths, without a gap from 0 on.
    segments: Vec<(u64, u64)>,
    is_begun: bool,
    is_cut: bool,
    /// When the listing began that found this.
    as_of: Option<Instant>,
}

impl Index {
    fn end(&self) -> u64 {
        self.segments.last().map_or(0, |(start, len)| start + len)
    }

    /// Notes an object of the log; what leaves a gap is not the log's.
    fn add(&mut self, name: &str, size: u64) {
        match name {
            BEGUN => self.is_begun = true,
            CUT => self.is_cut = true,
            _ if name.len() == 20 && name.parse() == Ok(self.end()) && size > 0 => {
                self.segments.push((self.end(), size));
            }
            _ => {}
        }
    }

    /// The segment that has the byte at an offset.
    fn segment(&self, offset: u64) -> Option<(u64, u64)> {
        let at = self.segments.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (start, len) = self.segments[at];
        (offset < start + len).then_some((start, len))
    }
}

/// How far the segments of a log reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Whether the log was begun.
    pub(super) is_begun: bool,
    /// Where the next segment begins.
    pub(super) end: u64,
    /// Whether none will follow, because its worker was lost.
    pub(super) is_cut: bool,
}

/// Reads the segments of logs.
#[derive(Clone)]
pub(super) struct Segments {
    store: Store,
    between_listings: Duration,
    indexes: Arc<Mutex<HashMap<Run, Arc<tokio::sync::Mutex<Index>>>>>,
    blocks: Arc<Mutex<VecDeque<Block>>>,
}

/// A part of a segment, which never changes.
struct Block {
    run: Run,
    start: u64,
    bytes: Bytes,
}

impl Segments {
    pub(super) fn new(store: Store, between_listings: Duration) -> Self {
        Self { store, between_listings, indexes: Arc::default(), blocks: Arc::default() }
    }

    /// How far the segments of a log reach now: those that were written before this was called are in.
    pub(super) async fn extent(&self, run: &Run) -> Result<Extent, StoreError> {
        let called = Instant::now();
        let index = self.index(run);
        let mut index = index.lock().await;
        // A listing that began since is as good as one of our own.
        if index.as_of.is_none_or(|as_of| as_of < called) {
            if let Some(as_of) = index.as_of {
                sleep_until(as_of + self.between_listings).await;
            }
            self.list(run, &mut index).await?;
        }
        Ok(Extent { is_begun: index.is_begun || index.end() > 0, end: index.end(), is_cut: index.is_cut })
    }

    async fn list(&self, run: &Run, index: &mut Index) -> Result<(), StoreError> {
        let as_of = Instant::now();
        let folder = folder(run);
        let after = index.segments.last().map(|(start, _)| key(run, *start));
        let mut objects = self.store.list(&folder, after.as_deref())?;
        while let Some(object) = objects.try_next().await? {
            let name = object.key.strip_prefix(&folder).and_then(|name| name.strip_prefix('/'));
            index.add(name.unwrap_or_default(), object.size);
        }
        index.as_of = Some(as_of);
        Ok(())
    }

    fn index(&self, run: &Run) -> Arc<tokio::sync::Mutex<Index>> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if indexes.len() >= KNOWN_LOGS {
            indexes.retain(|_, index| Arc::strong_count(index) > 1);
        }
        Arc::clone(indexes.entry(run.clone()).or_default())
    }

    /// The bytes of a log from an offset on, at most `max` of them, from one segment; none behind the known segments.
    pub(super) async fn read(&self, run: &Run, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.in_block(run, offset, max) {
            return Ok(bytes);
        }
        let segment = self.index(run).lock().await.segment(offset);
        let Some((start, len)) = segment else { return Ok(Bytes::new()) };
        let (from, to) = (offset - start, len.min(offset - start + BLOCK_BYTES));
        let Some(bytes) = self.store.get_range(&key(run, start), from, to).await? else {
            // It was deleted, with its job.
            self.forget(|known| known == run);
            return Ok(Bytes::new());
        };
        let wanted = bytes.slice(..max.min(bytes.len()));
        let mut blocks = self.blocks();
        blocks.push_front(Block { run: run.clone(), start: offset, bytes });
        blocks.truncate(BLOCKS);
        Ok(wanted)
    }

    fn in_block(&self, run: &Run, offset: u64, max: usize) -> Option<Bytes> {
        let blocks = self.blocks();
        let within = |block: &Block| {
            let from = usize::try_from(offset.checked_sub(block.start)?).ok()?;
            let to = block.bytes.len().min(from.saturating_add(max));
            (from < block.bytes.len()).then(|| block.bytes.slice(from..to))
        };
        blocks.iter().filter(|block| block.run == *run).find_map(within)
    }

    fn blocks(&self) -> MutexGuard<'_, VecDeque<Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is known of some logs.
    pub(super) fn forget(&self, which: impl Fn(&Run) -> bool) {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).retain(|run, _| !which(run));
        self.blocks().retain(|block| !which(&block.run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_has_no_gap_and_finds_each_byte() {
        let mut index = Index::default();
        for (name, size) in [
            ("00000000000000000000", 10),
            ("00000000000000000010", 5),
            // A gap, an overlap, an empty one, and what is none.
            ("00000000000000000016", 9),
            ("00000000000000000012", 9),
            ("00000000000000000015", 0),
            ("15", 9),
            ("0000000000000000001x", 9),
            ("begun", 0),
        ] {
            index.add(name, size);
        }
        assert_eq!((index.end(), index.is_begun, index.is_cut), (15, true, false));
        for (offset, segment) in
            [(0, Some((0, 10))), (9, Some((0, 10))), (10, Some((10, 5))), (14, Some((10, 5))), (15, None)]
        {
            assert_eq!(index.segment(offset), segment, "{offset}");
        }
    }
}
