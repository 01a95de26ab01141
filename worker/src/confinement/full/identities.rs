//! A user of its own for each run: what one leaves is nothing to the next, and none can signal another.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::confinement::floor::privileges::Identity;
use crate::confinement::limits::{sweep, users_of_shared_memory};
use crate::machine::file_lock::try_lock;
use crate::machine::procfs;

/// The users that systemd keeps for services that need one for a while; they own nothing, and fit a container's map.
const RANGE: RangeInclusive<u32> = 61_184..=65_519;

/// The users that runs may have. A file in a folder that no job can reach is locked for each that is taken, so that no
/// two workers of a machine give one to two runs.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    claims: PathBuf,
}

/// A user that no other run on this machine has, until this is dropped.
#[derive(Debug)]
pub(crate) struct OwnIdentity {
    pub(crate) identity: Identity,
    _claim: Flock<File>,
}

impl Identities {
    /// If this process's user namespace has them all. Claims are made in this folder, which all workers share.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn available(machine_folder: &Path) -> io::Result<Self> {
        if !maps_all(&fs::read_to_string("/proc/self/uid_map")?) {
            return Err(io::Error::other("there are no users 61184 to 65519 here to run jobs as"));
        }
        let claims = machine_folder.join("users");
        DirBuilder::new().recursive(true).mode(0o700).create(&claims)?;
        Ok(Self { claims })
    }

    /// One of them. `anywhere` spreads the workers of a machine over the range.
    ///
    /// # Errors
    /// If none is free, or they can't be claimed.
    pub(crate) fn take(&self, anywhere: u32) -> io::Result<OwnIdentity> {
        let count = RANGE.end() - RANGE.start() + 1;
        // A claim ends with its worker, and something of its run may be left.
        let busy = procfs::users();
        let mut numbers = (0..count).map(|step| RANGE.start() + (anywhere % count + step) % count);
        let free =
            numbers.find_map(|number| if busy.contains(&number) { None } else { self.claim(number).transpose() });
        free.unwrap_or_else(|| {
            let claims = self.claims.display();
            Err(io::Error::other(format!("all {count} users that runs may have are in use, by the locks in {claims}")))
        })
    }

    /// Removes what ended runs have left in the machine's shared memory. A worker that is killed does not.
    pub(crate) fn sweep_shared_memory(&self) {
        let busy = procfs::users();
        for number in users_of_shared_memory().into_iter().filter(|user| RANGE.contains(user) && !busy.contains(user)) {
            // A run may have begun meanwhile: then it has the claim.
            if let Ok(Some(_claim)) = self.claim(number) {
                sweep(number, &std::collections::BTreeSet::new());
            }
        }
    }

    /// A user, unless another run has it.
    fn claim(&self, number: u32) -> io::Result<Option<OwnIdentity>> {
        let lock = try_lock(&self.claims.join(number.to_string()), FlockArg::LockExclusiveNonblock)?;
        Ok(lock.map(|claim| OwnIdentity { identity: Identity(number), _claim: claim }))
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
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn nobody_has_what_a_run_of_this_or_another_worker_has() {
        let folder = tempfile::tempdir().unwrap();
        let of = || Identities::available(folder.path()).unwrap();
        let (one, other) = (of(), of());
        let first = one.take(7).unwrap();
        let others = [one.take(7).unwrap(), other.take(7).unwrap()];
        assert!(others.iter().all(|taken| taken.identity != first.identity));
        assert_ne!(others[0].identity, others[1].identity);
        let was = first.identity;
        drop(first);
        assert_eq!(other.take(7).unwrap().identity, was);
    }

    #[test]
    fn a_user_that_has_a_process_is_not_free() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let identities = Identities::available(folder.path()).unwrap();
        let free = identities.take(2_000).unwrap().identity;
        let mut left = std::process::Command::new("sleep").arg("300").uid(free.0).spawn().unwrap();
        assert_ne!(identities.take(2_000).unwrap().identity, free);
        left.kill().unwrap();
        left.wait().unwrap();
    }

    #[test]
    fn a_container_with_few_users_has_none_to_give() {
        assert!(maps_all("         0          0 4294967295\n"));
        assert!(maps_all("0 100000 65536\n"));
        assert!(!maps_all("0 1000 1\n"));
        assert!(!maps_all(""));
    }
}
