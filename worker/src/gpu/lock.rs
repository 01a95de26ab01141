//! Marks leases by locks, so that no two workers of a machine give one GPU to two jobs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};

/// Where leases are marked: a file for each slot of each GPU, locked by who has it. The kernel unlocks those of a
/// process that dies.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
    slots_per_gpu: usize,
}

pub(super) type Lock = Flock<File>;

impl Locks {
    pub(super) const fn new(folder: PathBuf, slots_per_gpu: usize) -> Self {
        Self { folder, slots_per_gpu }
    }

    /// The slots of a GPU that nobody has, which are the caller's for as long as it keeps them.
    pub(super) fn free_slots(&self, uuid: &str) -> Vec<Lock> {
        (0..self.slots_per_gpu).filter_map(|slot| self.lock(uuid, slot).ok()).collect()
    }

    fn lock(&self, uuid: &str, slot: usize) -> io::Result<Lock> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{uuid}.{slot}"));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
    }
}
