//! The sign of life of a thread that collects, and the word that has it stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// It was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was told to stop")]
pub(super) struct Stopped;

/// Shared by the thread that collects and whoever watches it.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    signs: Arc<AtomicU64>,
    pub(super) stop: CancellationToken,
}

impl Life {
    /// Says that something was done, and hears whether to go on.
    pub(super) fn sign(&self) -> Result<(), Stopped> {
        self.signs.fetch_add(1, Ordering::Relaxed);
        if self.stop.is_cancelled() { Err(Stopped) } else { Ok(()) }
    }

    /// How much was done so far.
    pub(super) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }
}
