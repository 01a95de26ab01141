//! Why a run is to be stopped before its program ends by itself.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

/// Why a run is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Somebody asked for the job's end.
    Cancel,
    /// Another run is the job's by now.
    Lost,
    /// The worker is to stop.
    Drain,
}

/// A wish to stop a run; the first reason counts.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    reason: OnceLock<Reason>,
    token: CancellationToken,
}

impl Interrupt {
    /// Asks for the end.
    pub(crate) fn raise(&self, reason: Reason) {
        // An earlier reason stands.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Waits until somebody asks for the end.
    pub(crate) async fn raised(&self) -> Reason {
        self.token.cancelled().await;
        *self.reason.get_or_init(|| Reason::Drain)
    }
}
