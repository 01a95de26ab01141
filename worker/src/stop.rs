//! How a worker is told to stop, in three degrees.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long each last step of a run may still take after the drain timeout.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How a worker is told to stop, in three degrees.
#[derive(Clone)]
pub(crate) struct Stop {
    /// Claim nothing more.
    pub(crate) claiming: CancellationToken,
    /// Give back what still runs, and wait for nothing that does not answer soon.
    pub(crate) running: CancellationToken,
    /// Wait for nothing, not even for Redis.
    pub(crate) waiting: CancellationToken,
}

impl Stop {
    /// Returns when nothing new may be started.
    pub(crate) async fn begun(&self) {
        tokio::select! {
            () = self.claiming.cancelled() => {}
            () = self.running.cancelled() => {}
        }
    }

    /// Returns when a step that started with this call may take no longer: two seconds after the drain timeout at the
    /// earliest, at once if the worker must stop at once.
    pub(crate) async fn patience_is_over(&self) {
        tokio::select! {
            () = self.last_word_is_over() => {}
            () = self.waiting.cancelled() => {}
        }
    }

    /// The same for a step that needs no other process: it has its two seconds even if the worker must stop at once.
    pub(crate) async fn last_word_is_over(&self) {
        self.running.cancelled().await;
        sleep(LAST_WORD).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends_soon_after_the_drain_timeout_and_at_once_when_told() {
        let token = CancellationToken::new;
        let stop = Stop { claiming: token(), running: token(), waiting: token() };
        let began = Instant::now();
        stop.running.cancel();
        stop.patience_is_over().await;
        assert_eq!(began.elapsed(), LAST_WORD);
        stop.waiting.cancel();
        stop.patience_is_over().await;
        assert_eq!(began.elapsed(), LAST_WORD);
    }
}
