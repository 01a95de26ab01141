//! A user of its own for each run: what one leaves is nothing to the next, and none can signal another.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};

use super::privileges::Identity;

/// The users that systemd keeps for services that need one for a while; they own nothing, and fit a container's map.
const RANGE: RangeInclusive<u32> = 61_184..=65_519;

/// The users that runs of this worker have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identities(Arc<Mutex<BTreeSet<u32>>>);

/// A user that no other run on this machine has, until this is dropped.
#[derive(Debug)]
pub(crate) struct OwnIdentity {
    pub(crate) identity: Identity,
    taken: Identities,
    /// By which the other workers of this machine know.
    _claim: UnixDatagram,
}

impl Identities {
    /// If this process's user namespace has them all.
    pub(crate) fn available() -> Option<Self> {
        let map = fs::read_to_string("/proc/self/uid_map").ok()?;
        maps_all(&map).then(Self::default)
    }

    /// One of them. `anywhere` spreads the workers of a machine over the range.
    pub(crate) fn take(&self, anywhere: u32) -> Option<OwnIdentity> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = RANGE.end() - RANGE.start() + 1;
        let mut numbers = (0..count).map(|step| RANGE.start() + (anywhere % count + step) % count);
        let (free, claim) = numbers.find_map(|number| {
            if taken.contains(&number) {
                return None;
            }
            claim(number).map(|claim| (number, claim))
        })?;
        taken.insert(free);
        drop(taken);
        Some(OwnIdentity { identity: Identity(free), taken: self.clone(), _claim: claim })
    }
}

/// Claims a user among all workers of this machine, or of this network namespace; none if another has it. The name of a
/// socket without a file is one process's at a time, and free again whichever way that ends.
fn claim(number: u32) -> Option<UnixDatagram> {
    let name = SocketAddr::from_abstract_name(format!("leadersboard-user-{number}")).ok()?;
    match UnixDatagram::bind_addr(&name) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            tracing::debug!(%error, number, "a user could not be claimed");
            UnixDatagram::unbound().ok()
        }
        claimed => claimed.ok(),
    }
}

impl Drop for OwnIdentity {
    fn drop(&mut self) {
        self.taken.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.identity.0);
    }
}

/// Whether a line of `/proc/self/uid_map`, which are first id, first id outside, count, has the whole range.
fn maps_all(map: &str) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let [first, _, count] = numbers[..] else { return false };
        first <= u64::from(*RANGE.start()) && u64::from(*RANGE.end()) < first + count
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_what_another_has() {
        let identities = Identities::default();
        let first = identities.take(7).unwrap();
        let second = identities.take(7).unwrap();
        assert_ne!(first.identity, second.identity);
        let was = first.identity;
        drop(first);
        assert_eq!(identities.take(7).unwrap().identity, was);
    }

    #[test]
    fn nobody_has_what_a_run_of_another_worker_has() {
        let (one, other) = (Identities::default(), Identities::default());
        let first = one.take(4_000).unwrap();
        assert_ne!(other.take(4_000).unwrap().identity, first.identity);
    }

    #[test]
    fn a_container_with_few_users_has_none_to_give() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(maps_all("0 100000 65536\n"));
        assert!(!maps_all("0 1000 1\n"));
        assert!(!maps_all(""));
    }
}
