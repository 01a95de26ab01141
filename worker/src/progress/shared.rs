//! What the parts of one run's progress share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lines::Marker;
use super::standing::Standing;

/// What the parts of one run's progress share.
pub(super) struct Shared {
    pub(super) began: Instant,
    pub(super) standing: Mutex<Standing>,
    pub(super) news: Notify,
    /// There will be no more of it.
    pub(super) closed: CancellationToken,
}

impl Shared {
    pub(super) fn new() -> Self {
        let (standing, news, closed) = Default::default();
        Self { began: Instant::now(), standing, news, closed }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what the program tells, and what was seen of it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Standing, Duration)) {
        change(&mut self.lock(), self.began.elapsed());
        self.news.notify_one();
    }

    pub(super) fn hear(&self, markers: Vec<Marker>) {
        if !markers.is_empty() {
            self.change(|standing, at| markers.into_iter().for_each(|marker| standing.hear(marker, at)));
        }
    }
}
