//! How much of the server boards may take that are read job by job.

use std::time::Duration;

use events::ports::{BoardQuery, PortError};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::Error;

/// How many boards are filtered at once: each looks at as many jobs as it takes.
const AT_ONCE: usize = 2;
/// How long one may wait for its turn and be read.
const LIMIT: Duration = Duration::from_secs(10);

/// The turns of those who filter boards.
#[derive(Debug)]
pub struct BoardReads(Semaphore);

impl Default for BoardReads {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl BoardReads {
    /// Waits for a read; for one that filters in its turn, and for no longer than [`LIMIT`].
    pub(crate) async fn run<T>(
        &self,
        query: &BoardQuery,
        read: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, Error> {
        if query.since.is_none() && query.params.is_empty() {
            return Ok(read.await?);
        }
        let in_turn = async {
            let _turn = self.0.acquire().await;
            read.await
        };
        match timeout(LIMIT, in_turn).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(Error::Busy(format!(
                "the board could not be filtered within {} s: try again, or ask for one user's",
                LIMIT.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use events::Order;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_filters_waits_for_a_turn_and_not_for_ever_and_nobody_else_does() {
        let reads = BoardReads::default();
        let plain = BoardQuery {
            metric: "auc".to_owned(),
            order: Order::Desc,
            user: None,
            since: None,
            params: vec![],
            limit: 1,
        };
        let filtered = BoardQuery { params: vec![("dataset".to_owned(), "d".to_owned())], ..plain.clone() };
        let endless = || reads.run(&filtered, pending::<Result<u8, PortError>>());
        let (one, two, third, unfiltered) = tokio::join!(
            endless(),
            endless(),
            reads.run(&filtered, async { Ok(3) }),
            reads.run(&plain, async { Ok(4) })
        );
        assert!(matches!((one, two), (Err(Error::Busy(_)), Err(Error::Busy(_)))));
        assert!(matches!(third, Err(Error::Busy(_)) | Ok(3)), "{third:?}");
        assert!(matches!(unfiltered, Ok(4)));
        assert!(matches!(reads.run(&filtered, async { Ok(5) }).await, Ok(5)), "turns are given back");
    }
}
