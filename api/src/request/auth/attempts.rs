//! Failed sign-ins by the address of their client: each failure makes the next answer later.
//!
//! The delay doubles with each failure beyond the free ones, up to a limit. The count of failures halves every minute.
//! A request that waits holds its connection, so only a few may wait; the others are answered at once and lose their
//! connection. Tokens are too long to be guessed at any speed. This slows a client with a weak list of guesses, keeps its
//! noise low and never locks anybody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures without a delay.
const FREE: f64 = 3.0;
/// The first delay.
const FIRST: Duration = Duration::from_millis(250);
/// After this time a failure counts half.
const HALF_LIFE: Duration = Duration::from_mins(1);
/// How many addresses are remembered.
const MAX_ADDRESSES: usize = 4096;
/// How many requests may wait, of one address and of all.
const MAX_WAITING_OF_ONE: usize = 8;
const MAX_WAITING: usize = 64;

/// The failed sign-ins of the last minutes.
#[derive(Debug)]
pub(super) struct Attempts {
    longest: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    failures: HashMap<IpAddr, Failures>,
    waiting: usize,
}

/// The failures of one address.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: f64,
    at: Instant,
    waiting: usize,
}

/// Whether a request could wait for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It has waited.
    Waited,
    /// Too many others wait.
    Exhausted,
}

/// A request that waits, until this is dropped.
struct Waiting<'a>(&'a Attempts, IpAddr);

impl Attempts {
    /// With delays up to `longest`.
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, table: Mutex::default() }
    }

    /// Counts a failure, and waits as long as its answer must.
    pub(super) async fn failed(&self, client: IpAddr) -> Patience {
        let client = network(client);
        let delay = self.count(client);
        if delay.is_zero() {
            return Patience::Waited;
        }
        let Some(_waiting) = self.wait(client) else { return Patience::Exhausted };
        tokio::time::sleep(delay).await;
        Patience::Waited
    }

    /// Counts a failure and returns the delay of its answer.
    fn count(&self, client: IpAddr) -> Duration {
        let now = Instant::now();
        let mut table = self.table();
        if table.failures.len() >= MAX_ADDRESSES && !table.failures.contains_key(&client) {
            table.make_room(now);
        }
        let failures = table.failures.entry(client).or_insert(Failures { count: 0.0, at: now, waiting: 0 });
        let before = failures.count_at(now);
        (failures.count, failures.at) = (before + 1.0, now);
        if before < FREE && failures.count > FREE {
            tracing::warn!(%client, "wrong tokens again and again: their answers are delayed");
        }
        delay(failures.count, self.longest)
    }

    fn wait(&self, client: IpAddr) -> Option<Waiting<'_>> {
        let mut table = self.table();
        let all = table.waiting;
        let failures = table.failures.get_mut(&client)?;
        if all >= MAX_WAITING || failures.waiting >= MAX_WAITING_OF_ONE {
            return None;
        }
        failures.waiting += 1;
        table.waiting += 1;
        Some(Waiting(self, client))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.0.table();
        table.waiting = table.waiting.saturating_sub(1);
        if let Some(failures) = table.failures.get_mut(&self.1) {
            failures.waiting = failures.waiting.saturating_sub(1);
        }
    }
}

impl Table {
    /// Forgets the addresses that have failed least, at least half of all.
    fn make_room(&mut self, now: Instant) {
        let mut counts: Vec<f64> = self.failures.values().map(|failures| failures.count_at(now)).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        self.failures.retain(|_, failures| failures.count_at(now) > median);
    }
}

impl Failures {
    fn count_at(&self, now: Instant) -> f64 {
        let halvings = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.count * 0.5_f64.powf(halvings)
    }
}

/// The delay of the answer to a failure that is the `count`th: none to the free ones, then 250 ms, 500 ms and so on.
fn delay(count: f64, longest: Duration) -> Duration {
    let beyond = count - FREE;
    if beyond <= 0.0 {
        return Duration::ZERO;
    }
    // Beyond this exponent every delay is the longest.
    FIRST.mul_f64(2_f64.powf((beyond - 1.0).clamp(0.0, 16.0))).min(longest)
}

/// What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that its network has.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(4);

    fn client(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    async fn took(attempts: &Attempts, client: IpAddr) -> Duration {
        let began = Instant::now();
        assert_eq!(attempts.failed(client).await, Patience::Waited);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_grows_for_one_address_and_decays() {
        let attempts = Attempts::new(LONGEST);
        let mut delays = vec![];
        for _ in 0..9 {
            delays.push(took(&attempts, client(1)).await);
        }
        assert!(delays[..3].iter().all(Duration::is_zero), "{delays:?}");
        assert!(delays[3..].windows(2).all(|pair| pair[0] < pair[1] || pair[1] == LONGEST), "{delays:?}");
        assert!(delays[3] >= Duration::from_millis(200) && delays[8] == LONGEST, "{delays:?}");
        assert_eq!(took(&attempts, client(2)).await, Duration::ZERO, "another address");
        tokio::time::advance(HALF_LIFE * 10).await;
        assert_eq!(took(&attempts, client(1)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_client_and_a_mapped_address_is_that_of_ipv4() {
        let attempts = Attempts::new(LONGEST);
        for host in 1..=4_u8 {
            attempts.failed(format!("2001:db8:0:1::{host}").parse().unwrap()).await;
            attempts.failed(if host % 2 == 0 { client(1) } else { "::ffff:192.0.2.1".parse().unwrap() }).await;
        }
        assert!(!took(&attempts, "2001:db8:0:1:ffff::1".parse().unwrap()).await.is_zero());
        assert!(!took(&attempts, client(1)).await.is_zero());
        assert!(took(&attempts, "2001:db8:0:2::1".parse().unwrap()).await.is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn few_requests_wait_and_those_that_go_away_do_not() {
        let attempts = Arc::new(Attempts::new(LONGEST));
        for _ in 0..10 {
            attempts.failed(client(1)).await;
        }
        let mut waiting = vec![];
        for _ in 0..MAX_WAITING_OF_ONE {
            let attempts = Arc::clone(&attempts);
            waiting.push(tokio::spawn(async move { attempts.failed(client(1)).await }));
        }
        tokio::task::yield_now().await;
        assert_eq!(attempts.failed(client(1)).await, Patience::Exhausted);
        // A client that hangs up makes room.
        let gone = waiting.pop().unwrap();
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(took(&attempts, client(1)).await, LONGEST);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Patience::Waited);
        }
        let table = attempts.table();
        assert_eq!((table.waiting, table.failures[&client(1)].waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_who_fails_most() {
        let attempts = Attempts::new(LONGEST);
        for _ in 0..10 {
            attempts.failed(client(1)).await;
        }
        for number in 0..3 * MAX_ADDRESSES {
            let [.., a, b] = number.to_be_bytes();
            attempts.failed(Ipv4Addr::new(10, 0, a, b).into()).await;
            assert!(attempts.table().failures.len() <= MAX_ADDRESSES);
        }
        assert_eq!(took(&attempts, client(1)).await, LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_longest_delay_nothing_waits() {
        let attempts = Attempts::new(Duration::ZERO);
        for _ in 0..20 {
            assert_eq!(took(&attempts, client(1)).await, Duration::ZERO);
        }
    }
}
