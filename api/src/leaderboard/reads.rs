//! The limits of boards that are read job by job.

use std::time::Duration;

use events::ports::PortError;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::error::Error;

/// How many boards are filtered at once. Each may read any number of jobs.
const AT_ONCE: usize = 2;
/// How long one request may wait for its turn and read.
const LIMIT: Duration = Duration::from_secs(10);

/// The turns of requests that filter boards.
#[derive(Debug)]
pub(crate) struct BoardReads(Semaphore);

impl Default for BoardReads {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl BoardReads {
    /// Runs a read in its turn, for no longer than [`LIMIT`] in all.
    pub(crate) async fn run<T>(&self, read: impl Future<Output = Result<T, PortError>>) -> Result<T, Error> {
        let in_turn = async {
            let _turn = self.0.acquire().await;
            read.await
        };
        match timeout(LIMIT, in_turn).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(Error::Busy(format!(
                "the board could not be filtered within {} s: try again later, or with fewer filters",
                LIMIT.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_filters_waits_for_a_turn_and_not_for_ever() {
        let reads = BoardReads::default();
        let endless = || reads.run(pending::<Result<u8, PortError>>());
        let (one, two, third) = tokio::join!(endless(), endless(), endless());
        for ended in [one, two, third] {
            assert!(matches!(ended, Err(Error::Busy(_))), "{ended:?}");
        }
        assert!(matches!(reads.run(async { Ok(5) }).await, Ok(5)), "turns are given back");
    }
}
