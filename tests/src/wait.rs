//! Waiting for a condition, with a deadline instead of a sleep. Deadlines are for a machine at rest: on one that is
//! busy they are longer, by what is measured once at the start of each test process.

use std::fmt::Debug;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);
/// The most by which deadlines grow; `.config/nextest.toml` allows a test that much time.
const MOST: f64 = 5.0;
/// How many pieces of work are timed, and how large each is: about ten milliseconds in all.
const PIECES: usize = 200;
const PIECE: u64 = 20_000;

/// Waits until `look` gives something, and gives that.
///
/// # Panics
/// If it gives nothing within `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = scaled(limit);
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
    let limit = scaled(limit);
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

/// What is a deadline of this length on a machine at rest, on this one.
#[must_use]
pub fn scaled(limit: Duration) -> Duration {
    static SLOWNESS: OnceLock<f64> = OnceLock::new();
    let measured = || if are_fixed() { 1.0 } else { slowness(load_for_each_processor(), contention()) };
    limit.mul_f64(*SLOWNESS.get_or_init(measured))
}

/// Whether deadlines stay as they are: who looks for a known mistake waits for a test to fail, again and again.
#[expect(clippy::disallowed_methods, reason = "tests have no command line: the script hands a variable down")]
fn are_fixed() -> bool {
    std::env::var_os("FIXED_DEADLINES").is_some()
}

/// How many times as long as at rest everything may take: by the load of the last minute, or by what is going on now.
fn slowness(load: f64, contention: f64) -> f64 {
    load.max(contention).clamp(1.0, MOST)
}

/// The average of the last minute of what ran, or waited for a processor or a disk, for each processor. (proc(5))
fn load_for_each_processor() -> f64 {
    let average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average: f64 = average.split(' ').next().and_then(|average| average.parse().ok()).unwrap_or(0.0);
    average / std::thread::available_parallelism().map_or(1.0, |processors| processors.get() as f64)
}

/// How much longer some work takes than if all of it went as fast as its fastest quarter.
fn contention() -> f64 {
    let mut times: Vec<f64> = (0..PIECES)
        .map(|_| {
            let began = Instant::now();
            black_box((0..PIECE).fold(0_u64, |sum, number| black_box(sum ^ number)));
            began.elapsed().as_secs_f64()
        })
        .collect();
    let whole: f64 = times.iter().sum();
    times.sort_by(f64::total_cmp);
    whole / (times[PIECES / 4] * PIECES as f64).max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_grow_with_the_load_and_never_shrink() {
        assert_eq!(slowness(0.1, 1.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(slowness(4.5, 1.1).to_bits(), 4.5_f64.to_bits());
        assert_eq!(slowness(0.5, 3.0).to_bits(), 3.0_f64.to_bits());
        assert_eq!(slowness(900.0, 1.0).to_bits(), MOST.to_bits());
        assert!(scaled(Duration::from_secs(1)) >= Duration::from_secs(1));
        assert!(contention() >= 0.9, "a part is no longer than the whole");
    }
}
