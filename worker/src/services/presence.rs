//! Tells the others that this worker is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use events::ports::Presence;
use tokio::time::{MissedTickBehavior, interval};

use crate::session::Session;

const EVERY: Duration = Duration::from_secs(5);
/// How long one telling lasts.
const LASTING: Duration = Duration::from_secs(20);

/// Tells so for as long as it is polled, and at once when it begins to drain.
pub(crate) async fn run(session: Arc<Session>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = session.stop.begun(), if !draining => draining = true,
            () = session.fitness.changed() => {}
        }
        let presence = Presence {
            worker: session.config.consumer.clone(),
            host: session.config.host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            classes: session.served(),
            slots: session.config.slots,
            busy: session.busy.load(Ordering::Relaxed),
            draining,
            sandbox: session.config.sandbox.to_string(),
            gpus: session.config.gpus.presence(),
            unfit: session.fitness.unfit(),
        };
        // An outage is told by whoever claims.
        if let Err(error) = session.ports.workers.announce(&presence, LASTING).await {
            tracing::debug!(%error, "the worker could not tell that it is there");
        }
    }
}
