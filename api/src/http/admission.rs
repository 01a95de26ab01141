//! Which requests are taken on, so that memory suffices for those that are: each costs some until its answer is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::error::Error;
use crate::request::auth::authenticator::{Asker, Authenticator};
use crate::request::json_body::MAX_JSON_BYTES;

/// Returns whether so little memory is left that requests must be refused. It is asked for each request.
pub type ScarceMemory = Arc<dyn Fn() -> bool + Send + Sync>;

/// How many requests of each weight are answered at once.
const LIGHT: usize = 1_024;
/// An answer may take some ten megabytes: a list of 10,000 artifacts, a board of 1,000 rows.
const HEAVY: usize = 32;
/// A transfer takes half a megabyte at a time.
const TRANSFERS: usize = 1_024;

/// How much of the turns of one weight one asker may have: this part.
const SHARE: usize = 4;
/// With more askers than this, those that hold nothing any more are forgotten.
const REMEMBERED: usize = 256;

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

/// What a request holds until its answer is read: a turn of its asker's, and one of all.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// The turns of one weight.
struct Turns {
    all: Arc<Semaphore>,
    each: usize,
    /// The turns of each asker who has one or waits for one.
    of: Mutex<HashMap<Asker, Weak<Semaphore>>>,
}

impl Turns {
    fn at_most(most: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), each: most / SHARE, of: Mutex::default() }
    }

    /// The next turn of an asker. `None` never comes: nobody closes a semaphore.
    async fn next(&self, asker: &Asker) -> Option<Turn> {
        let own = self.of(asker).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _own: own, _all: all })
    }

    fn of(&self, asker: &Asker) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = of.get(asker).and_then(Weak::upgrade) {
            return known;
        }
        if of.len() >= REMEMBERED {
            of.retain(|_, turns| turns.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(self.each));
        of.insert(asker.clone(), Arc::downgrade(&new));
        new
    }
}

/// The requests that are being answered.
pub(crate) struct Admission {
    authenticator: Arc<Authenticator>,
    light: Turns,
    heavy: Turns,
    transfers: Turns,
    scarce_memory: Option<ScarceMemory>,
    /// Cancelled once this process ends.
    stop: CancellationToken,
}

impl Admission {
    pub(crate) fn new(
        authenticator: Arc<Authenticator>,
        scarce_memory: Option<ScarceMemory>,
        stop: CancellationToken,
    ) -> Self {
        let [light, heavy, transfers] = [LIGHT, HEAVY, TRANSFERS].map(Turns::at_most);
        Self { authenticator, light, heavy, transfers, scarce_memory, stop }
    }

    /// Who a request seems to come from.
    pub(crate) fn asker(&self, request: &Request) -> Asker {
        self.authenticator.asker(request)
    }

    /// Takes a request on, or says why not. No asker gets more than a part of the turns, so that none of them can keep
    /// all others waiting.
    pub(crate) async fn admit(&self, method: &Method, route: &str, asker: Asker) -> Result<Option<Turn>, Error> {
        let turns = match Weight::of(method, route) {
            Weight::Essential => return Ok(None),
            Weight::Stream => None,
            // What is only refused costs little, and the refusal of a wrong token takes its time.
            Weight::Heavy | Weight::Transfer if !self.authenticator.may_let_in(&asker) => Some(&self.light),
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
        let Some(turns) = turns else { return Ok(None) };
        match timeout(TURN, turns.next(&asker)).await {
            Ok(Some(turn)) => Ok(Some(turn)),
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

    use axum::body::Body;

    use super::*;

    async fn admit(admission: &Admission, method: &Method, token: &str, route: &str) -> Result<Option<Turn>, Error> {
        let request =
            Request::builder().header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        admission.admit(method, route, admission.asker(&request)).await
    }

    #[tokio::test(start_paused = true)]
    async fn costly_requests_wait_for_their_turn_and_leave_the_others_alone() {
        let admission = Admission::new(Authenticator::of_users(5), None, CancellationToken::new());
        let board = async |user: usize| admit(&admission, &Method::GET, &format!("token{user}"), "/leaderboard").await;
        let mut turns = Vec::new();
        for number in 0..HEAVY {
            turns.push(board(number % SHARE).await.unwrap());
        }
        assert!(matches!(board(SHARE).await, Err(Error::Busy(_))), "all turns are taken");
        assert!(admit(&admission, &Method::GET, "token4", "/jobs/{id}/status").await.is_ok());
        let (turn, ()) = tokio::join!(board(SHARE), async { drop(turns.pop()) });
        assert!(turn.is_ok(), "the next one has its turn as soon as an answer was read");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_has_more_than_a_part_of_the_turns() {
        let admission = Admission::new(Authenticator::of_users(2), None, CancellationToken::new());
        let post = Method::POST;
        for (method, route, most) in
            [(Method::GET, "/leaderboard", HEAVY), (post.clone(), "/submissions", TRANSFERS), (post, "/jobs", LIGHT)]
        {
            let mut turns = Vec::new();
            for _ in 0..most / SHARE {
                turns.push(admit(&admission, &method, "token0", route).await.unwrap());
            }
            let more = admit(&admission, &method, "token0", route).await;
            assert!(matches!(more, Err(Error::Busy(_))), "{route}");
            assert!(admit(&admission, &method, "token1", route).await.is_ok(), "{route}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_take_no_turn_of_a_costly_request() {
        let admission = Admission::new(Authenticator::of_users(1), None, CancellationToken::new());
        let mut waiting = Vec::new();
        for number in 0..2 * HEAVY {
            waiting.push(admit(&admission, &Method::GET, &format!("wrong{number}"), "/leaderboard").await.unwrap());
        }
        assert!(admit(&admission, &Method::GET, "token0", "/leaderboard").await.is_ok());
    }

    #[tokio::test]
    async fn without_memory_or_at_the_end_only_what_an_operator_needs_is_answered() {
        let (is_scarce, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let seen = Arc::clone(&is_scarce);
        let scarce: ScarceMemory = Arc::new(move || seen.load(Ordering::Relaxed));
        let admission = Admission::new(Authenticator::of_users(1), Some(scarce), stop.clone());
        let get = async |route| admit(&admission, &Method::GET, "token0", route).await;
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
        assert!(admit(&admission, &Method::POST, "token0", "/jobs/{id}/cancel").await.is_ok());
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
