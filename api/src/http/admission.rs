//! Which requests are taken on, so that memory suffices for those that are: each costs some until its answer is read.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::error::Error;
use crate::request::json_body::MAX_JSON_BYTES;

/// Returns whether so little memory is left that requests must be refused. It is asked for each request.
pub type ScarceMemory = Arc<dyn Fn() -> bool + Send + Sync>;

/// How many requests of each weight are answered at once.
const LIGHT: usize = 1_024;
/// An answer may take some ten megabytes: a list of 10,000 artifacts, a board of 1,000 rows.
const HEAVY: usize = 32;
/// A transfer takes half a megabyte at a time.
const TRANSFERS: usize = 1_024;

/// How long a request waits for its turn. A burst passes meanwhile, and what waits costs little.
const TURN: Duration = Duration::from_secs(5);

/// What a request costs until its answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Next to nothing, and an operator in trouble needs it.
    Essential,
    /// A little for as long as the client likes; each user has few of them.
    Stream,
    /// A record or a small body.
    Light,
    /// Lists, boards, logs and their texts.
    Heavy,
    /// Files, a piece at a time.
    Transfer,
}

impl Weight {
    /// Of a request, by the template of its path.
    fn of(method: &Method, route: &str) -> Self {
        match route {
            "/" | "/health" | "/health/live" | "/health/ready" | "/metrics" | "/jobs/{id}/cancel" => Self::Essential,
            "/jobs/{id}/stream" | "/jobs/{id}/logs/stream" => Self::Stream,
            "/jobs/{id}/artifacts/{*path}" | "/jobs/{id}/artifacts.tar.gz" | "/jobs/{id}/visualizations/{filename}" => {
                Self::Transfer
            }
            "/submissions" if method == Method::POST => Self::Transfer,
            "/jobs" if method == Method::POST => Self::Light,
            "/submissions"
            | "/submissions/{id}"
            | "/jobs"
            | "/jobs/{id}/artifacts"
            | "/jobs/{id}/visualizations"
            | "/jobs/{id}/curves"
            | "/jobs/{id}/events"
            | "/jobs/{id}/logs"
            | "/jobs/{id}/results" => Self::Heavy,
            board if board.starts_with("/leaderboard") => Self::Heavy,
            _ => Self::Light,
        }
    }
}

/// What a request holds until its answer is read.
pub(crate) type Turn = Option<OwnedSemaphorePermit>;

/// The requests that are being answered.
pub(crate) struct Admission {
    light: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    scarce_memory: Option<ScarceMemory>,
    /// Cancelled once this process ends.
    stop: CancellationToken,
}

impl Admission {
    pub(crate) fn new(scarce_memory: Option<ScarceMemory>, stop: CancellationToken) -> Self {
        let semaphore = |most| Arc::new(Semaphore::new(most));
        let (light, heavy, transfers) = (semaphore(LIGHT), semaphore(HEAVY), semaphore(TRANSFERS));
        Self { light, heavy, transfers, scarce_memory, stop }
    }

    /// Takes a request on, or says why not.
    pub(crate) async fn admit(&self, method: &Method, route: &str) -> Result<Turn, Error> {
        let of_its_weight = match Weight::of(method, route) {
            Weight::Essential => return Ok(None),
            Weight::Stream => None,
            Weight::Light => Some(&self.light),
            Weight::Heavy => Some(&self.heavy),
            Weight::Transfer => Some(&self.transfers),
        };
        if self.stop.is_cancelled() {
            return Err(Error::Draining);
        }
        if self.scarce_memory.as_ref().is_some_and(|is_scarce| is_scarce()) {
            return Err(Error::Overloaded);
        }
        let Some(semaphore) = of_its_weight else { return Ok(None) };
        if let Ok(turn) = Arc::clone(semaphore).try_acquire_owned() {
            return Ok(Some(turn));
        }
        match timeout(TURN, Arc::clone(semaphore).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Some(turn)),
            _ => Err(Error::Busy(format!(
                "the server answers as many requests of this kind as it can, and none ended within {} s; try again \
                 shortly",
                TURN.as_secs()
            ))),
        }
    }
}

/// The most bytes of a request's body; `None` if its handler counts them as they come.
pub(crate) fn most_body_bytes(method: &Method, route: &str) -> Option<u64> {
    match Weight::of(method, route) {
        Weight::Transfer if method == Method::POST => None,
        _ => Some(MAX_JSON_BYTES as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn costly_requests_wait_for_their_turn_and_leave_the_others_alone() {
        let admission = Admission::new(None, CancellationToken::new());
        let board = async || admission.admit(&Method::GET, "/leaderboard").await;
        let mut turns = Vec::new();
        for _ in 0..HEAVY {
            turns.push(board().await.unwrap());
        }
        assert!(matches!(board().await, Err(Error::Busy(_))));
        assert!(admission.admit(&Method::GET, "/jobs/{id}/status").await.is_ok());
        let (turn, ()) = tokio::join!(board(), async { drop(turns.pop()) });
        assert!(turn.is_ok(), "the next one has its turn as soon as an answer was read");
    }

    #[tokio::test]
    async fn without_memory_or_at_the_end_only_what_an_operator_needs_is_answered() {
        let (is_scarce, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let seen = Arc::clone(&is_scarce);
        let admission = Admission::new(Some(Arc::new(move || seen.load(Ordering::Relaxed))), stop.clone());
        let get = async |route| admission.admit(&Method::GET, route).await;
        for route in ["/me", "/jobs", "/jobs/{id}/stream", "/jobs/{id}/artifacts/{*path}"] {
            assert!(matches!(get(route).await, Err(Error::Overloaded)), "{route}");
        }
        is_scarce.store(false, Ordering::Relaxed);
        assert!(get("/me").await.is_ok());
        stop.cancel();
        assert!(matches!(get("/me").await, Err(Error::Draining)));
        for route in ["/health/live", "/health/ready", "/metrics"] {
            assert!(get(route).await.is_ok(), "{route}");
        }
        assert!(admission.admit(&Method::POST, "/jobs/{id}/cancel").await.is_ok());
    }

    #[test]
    fn only_an_upload_may_have_a_large_body() {
        assert_eq!(most_body_bytes(&Method::POST, "/submissions"), None);
        for (method, route) in
            [(Method::GET, "/submissions"), (Method::POST, "/jobs"), (Method::GET, "/jobs/{id}/artifacts/{*path}")]
        {
            assert_eq!(most_body_bytes(&method, route), Some(65_536), "{method} {route}");
        }
    }
}
