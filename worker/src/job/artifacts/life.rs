//! The sign of life of a thread that collects, and the word that has it stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use events::ports::{Stage, StageName};
use tokio_util::sync::CancellationToken;

/// It was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was told to stop")]
pub(crate) struct Stopped;

/// Shared by the thread that collects and whoever watches it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    signs: Arc<AtomicU64>,
    bytes_done: Arc<AtomicU64>,
    /// 0 until it is known.
    bytes_total: Arc<AtomicU64>,
    pub(crate) stop: CancellationToken,
}

impl Life {
    /// Says that something was done, and hears whether to go on.
    pub(crate) fn sign(&self) -> Result<(), Stopped> {
        self.signs.fetch_add(1, Ordering::Relaxed);
        if self.stop.is_cancelled() { Err(Stopped) } else { Ok(()) }
    }

    /// Says that there are so many bytes to do, as far as that can be seen.
    pub(crate) fn expect(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Says that so many more bytes were done.
    pub(crate) fn did(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What people who look on are told of it.
    pub(crate) fn stage(&self) -> Stage {
        let bytes = |count: &AtomicU64| Some(count.load(Ordering::Relaxed));
        let bytes_total = bytes(&self.bytes_total).filter(|bytes| *bytes > 0);
        Stage { name: StageName::Storing, bytes_done: bytes(&self.bytes_done), bytes_total, reason: None }
    }

    /// How much was done so far.
    pub(crate) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }
}
