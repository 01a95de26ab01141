//! Waiting for a condition, with a deadline instead of a sleep.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `look` gives something, and gives that.
///
/// # Panics
/// If it gives nothing within `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until `look` gives `wanted`.
///
/// # Panics
/// If it gives something else until `limit`; the message tells what.
pub async fn until_equal<T: PartialEq + Debug>(
    what: &str,
    limit: Duration,
    wanted: T,
    mut look: impl AsyncFnMut() -> T,
) {
    let deadline = Instant::now() + limit;
    loop {
        let found = look().await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {found:?} instead of {wanted:?} for {limit:?}");
        tokio::time::sleep(POLL).await;
    }
}
