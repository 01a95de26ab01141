//! How many clients are connected at once, and which of them go when there are more.
//!
//! A connection is *busy* from the head of a request to the end of its answer, else *idle*. Idle ones cost their clients
//! nothing but a new connection, so a newcomer takes the place of the one that has been idle longest; those that never
//! sent a request go first. If all are busy, the newcomer is refused.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The connections of one listener. Each needs descriptors, which the rest of the process needs too.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    room: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

/// The idle connections, in the order in which they go.
#[derive(Debug, Default)]
struct Idle {
    next: u64,
    waiting: BTreeMap<Rank, CancellationToken>,
}

/// Whether a connection has sent a request before, and when it became idle.
type Rank = (bool, u64);

/// One connection, which has a place until this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    rank: Mutex<Option<Rank>>,
    evicted: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// A request under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Connection>);

impl Connections {
    /// At most so many at once, at least one.
    #[must_use]
    pub fn at_most(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared { most, room: Arc::new(Semaphore::new(most)), idle: Mutex::default() }))
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// A place for a newcomer; `None` if all connections are busy.
    pub(crate) async fn admit(&self) -> Option<Arc<Connection>> {
        let room = || Arc::clone(&self.0.room);
        let place = if let Ok(place) = room().try_acquire_owned() {
            place
        } else {
            let (_, evicted) = self.0.idle().waiting.pop_first()?;
            evicted.cancel();
            room().acquire_owned().await.ok()?
        };
        let evicted = CancellationToken::new();
        let rank = Some(self.0.idle().push(false, evicted.clone()));
        let shared = Arc::clone(&self.0);
        Some(Arc::new(Connection { shared, rank: Mutex::new(rank), evicted, _place: place }))
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn push(&mut self, has_asked: bool, evicted: CancellationToken) -> Rank {
        let rank = (has_asked, self.next);
        self.next += 1;
        self.waiting.insert(rank, evicted);
        rank
    }
}

impl Connection {
    /// Ends when somebody else has the place of this connection.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Begins a request; `None` if the connection is evicted: then the request must have no effect.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let rank = self.rank().take()?;
        self.shared.idle().waiting.remove(&rank)?;
        Some(Busy(Arc::clone(self)))
    }

    fn rank(&self) -> MutexGuard<'_, Option<Rank>> {
        self.rank.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(rank) = self.rank().take() {
            self.shared.idle().waiting.remove(&rank);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let rank = self.0.shared.idle().push(true, self.0.evicted.clone());
        *self.0.rank() = Some(rank);
    }
}

/// The body of an answer, during which its connection is busy.
pub(crate) struct Answer {
    pub(crate) body: Body,
    pub(crate) _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_goes_and_those_that_never_asked_go_first() {
        let connections = Connections::at_most(3);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(connections.admit().await.unwrap());
        }
        let gone = |all: &[Arc<Connection>]| all.iter().map(|one| one.evicted.is_cancelled()).collect::<Vec<_>>();
        // The first is busy, the second has asked before, the third has said nothing.
        let busy = all[0].begin().unwrap();
        drop(all[1].begin().unwrap());
        let newcomer = connections.clone();
        let newcomer = tokio::spawn(async move { newcomer.admit().await });
        all[2].evicted().await;
        assert_eq!(gone(&all), [false, false, true]);
        assert!(all[2].begin().is_none(), "whatever it asks now has no effect");
        all.pop();
        all.push(newcomer.await.unwrap().unwrap());
        let busy_too = all[2].begin().unwrap();
        let newcomer = connections.clone();
        let newcomer = tokio::spawn(async move { newcomer.admit().await });
        all[1].evicted().await;
        drop(all.remove(1));
        let last = newcomer.await.unwrap().unwrap();
        let last_busy = last.begin().unwrap();
        assert!(connections.admit().await.is_none(), "all are busy");
        drop((busy, busy_too, last_busy));
        assert!(connections.0.idle().waiting.len() == 3);
        drop((all, last));
        assert!(connections.0.idle().waiting.is_empty() && connections.0.room.available_permits() == 3);
    }
}
