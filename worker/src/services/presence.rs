//! Announces this worker to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::Consumer;
use events::ports::{Presence, WorkersPort};
use tokio::time::{MissedTickBehavior, interval};

use crate::gpu::Gpus;
use crate::served_classes::ServedClasses;
use crate::services::fitness::Fitness;
use crate::stop::Stop;

const EVERY: Duration = Duration::from_secs(5);
/// How long one announcement lasts.
const LASTING: Duration = Duration::from_secs(20);

/// Announces this worker.
pub(crate) struct Announcer {
    pub(crate) workers: Arc<dyn WorkersPort>,
    pub(crate) consumer: Consumer,
    pub(crate) host: String,
    pub(crate) classes: ServedClasses,
    pub(crate) slots: usize,
    pub(crate) busy: Arc<AtomicUsize>,
    /// How jobs are confined here.
    pub(crate) sandbox: String,
    pub(crate) gpus: Gpus,
    pub(crate) fitness: Arc<Fitness>,
    pub(crate) stop: Stop,
}

impl Announcer {
    /// Announces the worker for as long as the future is polled, and at once when it starts to drain.
    pub(crate) async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut draining = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stop.begun(), if !draining => draining = true,
                () = self.fitness.changed() => {}
            }
            let presence = Presence {
                worker: self.consumer.clone(),
                host: self.host.clone(),
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                classes: self.classes.served(),
                slots: self.slots,
                busy: self.busy.load(Ordering::Relaxed),
                draining,
                sandbox: self.sandbox.clone(),
                gpus: self.gpus.presence(),
                unfit: self.fitness.unfit().map(|unfit| unfit.why),
            };
            // The claiming tells of an outage.
            if let Err(error) = self.workers.announce(&presence, LASTING).await {
                tracing::debug!(%error, "the worker could not announce itself");
            }
        }
    }
}
