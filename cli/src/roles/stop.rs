//! Signals: the first asks for an orderly end, the second for an immediate one.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the parts of a process watch for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// End in order: finish what is under way.
    pub(crate) orderly: CancellationToken,
    /// End now: give back what is under way.
    pub(crate) now: CancellationToken,
}

impl Stop {
    /// Watches for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// If the handlers can't be installed.
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT can't be watched")?;
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be watched")?;
        let tokens = stop.clone();
        tokio::spawn(async move {
            for token in [&tokens.orderly, &tokens.now] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                tracing::info!("stopping; a second signal ends it at once");
                token.cancel();
            }
        });
        Ok(stop)
    }
}
