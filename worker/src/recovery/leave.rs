//! Leaves the worker's place at its orderly end.

use std::sync::Arc;
use std::time::Duration;

use events::Consumer;
use events::ports::{JobQueuePort, WorkersPort};
use tokio::time::timeout;

use crate::job::run::Settled;
use crate::recovery::worker_directory::WorkerDirectory;
use crate::served_classes::ServedClasses;

/// How long the last words to Redis may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the worker out of the others' sight at its orderly end.
pub(crate) struct Leaver {
    pub(crate) workers: Arc<dyn WorkersPort>,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) consumer: Consumer,
    pub(crate) classes: ServedClasses,
}

impl Leaver {
    /// Leaves nothing behind. If tickets are left, the directory stays, for the next worker here to take over.
    pub(crate) async fn leave(&self, directory: WorkerDirectory, settled: Settled) {
        let consumer = &self.consumer;
        let retired = timeout(PATIENCE, async {
            self.workers.withdraw(consumer).await?;
            self.queue.retire(consumer, &self.classes.all()).await
        });
        let retired = retired.await;
        if settled == Settled::No || !matches!(retired, Ok(Ok(()))) {
            tracing::warn!(%consumer, "tickets may be left; the next worker here takes them over");
            return;
        }
        if let Err(error) = directory.close() {
            tracing::warn!(%consumer, %error, "the worker's own directory could not be removed");
        }
    }
}
