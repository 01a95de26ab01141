//! The pulse of the thread that collects artifacts, and its stop signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use events::ports::{Stage, StageName};
use tokio_util::sync::CancellationToken;

/// It was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was told to stop")]
pub(crate) struct Stopped;

/// The counters that the collecting thread and the task that watches it share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    beats: Arc<AtomicU64>,
    bytes_done: Arc<AtomicU64>,
    /// 0 until it is known.
    bytes_total: Arc<AtomicU64>,
    pub(crate) stop: CancellationToken,
}

impl Pulse {
    /// Counts one step of the thread. Fails if the thread must stop.
    pub(crate) fn beat(&self) -> Result<(), Stopped> {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if self.stop.is_cancelled() { Err(Stopped) } else { Ok(()) }
    }

    /// Sets the number of bytes to store.
    pub(crate) fn expect(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Adds to the number of stored bytes.
    pub(crate) fn did(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The stage as clients see it.
    pub(crate) fn stage(&self) -> Stage {
        let bytes = |count: &AtomicU64| Some(count.load(Ordering::Relaxed));
        let bytes_total = bytes(&self.bytes_total).filter(|bytes| *bytes > 0);
        Stage { name: StageName::Storing, bytes_done: bytes(&self.bytes_done), bytes_total, reason: None }
    }

    /// The number of steps so far.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}
