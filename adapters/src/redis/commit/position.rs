//! How far this process has seen the event log, kept in a small file so that its next start knows too.
//!
//! Every commit carries the newest entry seen. If that entry is gone, Redis has come back without the newest part of
//! the log: nothing is committed until that is itself on record.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::StreamId;
use tokio::time::{MissedTickBehavior, interval};

/// How often the file is written, at most.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How far the event log was seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position(Arc<Mutex<Option<StreamId>>>);

impl Position {
    /// What the file says, and from now on keeps it there. None for a file that is not there or can't be read.
    pub(crate) fn kept_in(file: PathBuf) -> Self {
        let kept = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        let position = Self(Arc::new(Mutex::new(kept)));
        tokio::spawn(position.clone().keep(file, kept));
        position
    }

    /// The newest entry seen.
    pub(crate) fn get(&self) -> Option<StreamId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an entry that was seen.
    pub(crate) fn saw(&self, entry: Option<StreamId>) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(entry);
    }

    /// Begins anew from an entry, once it is on record that the log ends there.
    pub(crate) fn fell_back(&self, from: StreamId, to: Option<StreamId>) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest == Some(from) {
            *newest = to;
        }
    }

    async fn keep(self, file: PathBuf, mut kept: Option<StreamId>) {
        let mut ticks = interval(KEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Only this task is left of the process.
            if Arc::strong_count(&self.0) == 1 {
                return;
            }
            let newest = self.get();
            if newest == kept {
                continue;
            }
            if let Some(newest) = newest {
                match write(&file, newest) {
                    Ok(()) => kept = Some(newest),
                    Err(error) => tracing::debug!(%error, file = %file.display(), "the log's position can't be kept"),
                }
            }
        }
    }
}

fn write(file: &Path, newest: StreamId) -> io::Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, newest.to_string())?;
    std::fs::rename(beside, file)
}
