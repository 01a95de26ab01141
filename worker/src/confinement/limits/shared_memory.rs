//! Shared memory of a run: it is memory, wherever it lies as files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::sys::statvfs::statvfs;

use super::nameless::Open;
use super::{MAX_FILES, disk};
use crate::confinement::SHARED_MEMORY;
use crate::machine::procfs;
use crate::machine::remove_tree::remove_tree;

/// Where the shared memory of a run lies, where the kernel does not count it as the run's.
#[derive(Debug)]
pub(crate) enum SharedMemory {
    /// In the run's own mount namespace.
    Own,
    /// In the machine's, among that of others.
    Machine(Share),
}

/// A run's part of what belongs to its user. Runs may have one user, and nobody can tell whose a file is that none of
/// their processes has open: so with the last of them goes all that was not there before the first.
#[derive(Debug)]
pub(crate) struct Share {
    uid: u32,
    /// What was there before the run.
    before: BTreeSet<OsString>,
}

/// The runs of a user, and what was there before the first.
#[derive(Debug, Default)]
struct Runs {
    count: usize,
    before: BTreeSet<OsString>,
}

/// The runs of this process by their users.
static RUNS: Mutex<BTreeMap<u32, Runs>> = Mutex::new(BTreeMap::new());

impl SharedMemory {
    /// What a run that begins now will have in the machine's, as this user.
    pub(crate) fn of(uid: u32) -> Self {
        Self::Machine(Share::new(uid))
    }

    /// The same of a user that only this run has: what is there already was left by another.
    pub(crate) fn of_own(uid: u32) -> Self {
        sweep(uid, &BTreeSet::new());
        Self::of(uid)
    }

    /// What it takes now, with what the run has open without a name. `tree` are the processes of the run, its
    /// supervisor first.
    pub(crate) fn bytes(&self, tree: &[i32], open: Open) -> u64 {
        match self {
            Self::Own => {
                // The supervisor lets nobody look into it, and stands outside.
                let inside = |pid: &i32| statvfs(Path::new(&format!("/proc/{pid}/root{SHARED_MEMORY}"))).ok();
                let space = tree.iter().skip(1).rev().find_map(inside);
                // What was removed and is still open has its place there.
                let taken = space.map_or(0, |space| (space.blocks() - space.blocks_free()) * space.fragment_size());
                taken.saturating_add(open.memory)
            }
            Self::Machine(share) => {
                let taken: u64 = share.files().map(|(name, metadata)| usage_of(&name, &metadata).0).sum();
                taken.saturating_add(open.memory).saturating_add(open.shared_memory)
            }
        }
    }

    /// A folder of the run in the machine's shared memory that the platform can't look into.
    pub(crate) fn closed(&self) -> Option<PathBuf> {
        let Self::Machine(share) = self else { return None };
        let mut folders = share.files().filter(|(_, metadata)| metadata.is_dir());
        let (name, _) = folders.find(|(name, metadata)| usage_of(name, metadata).1)?;
        Some(Path::new(SHARED_MEMORY).join(name))
    }
}

impl Share {
    /// What the run has there.
    fn files(&self) -> impl Iterator<Item = (OsString, Metadata)> {
        files_of(self.uid).filter(|(name, _)| !self.before.contains(name))
    }

    fn new(uid: u32) -> Self {
        let before = names_in_shared_memory(uid);
        let mut all = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = all.entry(uid).or_insert_with(|| Runs { count: 0, before: before.clone() });
        runs.count += 1;
        Self { uid, before }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(runs) = all.get_mut(&self.uid) else { return };
        runs.count -= 1;
        if runs.count == 0 {
            let before = all.remove(&self.uid).unwrap_or_default().before;
            sweep(self.uid, &before);
        }
    }
}

/// The users that have files in the machine's shared memory.
pub(crate) fn users_of_shared_memory() -> BTreeSet<u32> {
    files().map(|(_, metadata)| metadata.uid()).collect()
}

/// The names of what a user has in the machine's shared memory.
pub(crate) fn names_in_shared_memory(uid: u32) -> BTreeSet<OsString> {
    files_of(uid).map(|(name, _)| name).collect()
}

/// Removes what a user has there that was not there before, and would stay for ever. What some process still uses
/// stays.
pub(crate) fn sweep(uid: u32, before: &BTreeSet<OsString>) {
    let left: Vec<_> = files_of(uid).filter(|(name, _)| !before.contains(name)).collect();
    if left.is_empty() {
        return;
    }
    let used = used();
    for (name, metadata) in left {
        // It belongs to the run's user, and to the folder itself: no link is followed.
        let path = Path::new(SHARED_MEMORY).join(&name);
        if metadata.is_dir() {
            let _ = remove_tree(&path);
        } else if !used.contains(&metadata.ino()) {
            let _ = fs::remove_file(path);
        }
    }
}

/// What a file takes, or a folder with all that is in it, in bytes, and whether a part of it can't be looked into. An
/// entry takes some memory itself.
fn usage_of(name: &OsStr, metadata: &Metadata) -> (u64, bool) {
    const ENTRY_BYTES: u64 = 1024;
    if !metadata.is_dir() {
        return (metadata.blocks() * 512 + ENTRY_BYTES, false);
    }
    // What the platform can't count now it counts at the next look.
    let usage = disk::usage(&[&Path::new(SHARED_MEMORY).join(name)], MAX_FILES).unwrap_or_default();
    (usage.bytes + (usage.entries + 1) * ENTRY_BYTES, usage.closed > 0)
}

/// The files of a user in the machine's shared memory.
fn files_of(uid: u32) -> impl Iterator<Item = (OsString, Metadata)> {
    files().filter(move |(_, metadata)| metadata.uid() == uid)
}

fn files() -> impl Iterator<Item = (OsString, Metadata)> {
    let files = fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten();
    files.filter_map(|file| Some((file.file_name(), file.metadata().ok()?)))
}

/// The files in shared memory that processes have open or mapped, as far as they can be seen: by number, for a
/// semaphore is mapped under a name that it has no more.
fn used() -> BTreeSet<u64> {
    let mut used = BTreeSet::new();
    for process in procfs::pids().map(procfs::living) {
        let maps = fs::read(process.join("maps")).unwrap_or_default();
        used.extend(maps.split(|byte| *byte == b'\n').filter_map(mapped));
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        let open = open.filter(|path| fs::read_link(path).is_ok_and(|target| target.starts_with(SHARED_MEMORY)));
        used.extend(open.filter_map(|path| Some(fs::metadata(path).ok()?.ino())));
    }
    used
}

/// The number of the file that a line of a map names, if it lies in shared memory. (`proc_pid_maps(5)`)
fn mapped(line: &[u8]) -> Option<u64> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let number = fields.nth(4)?;
    let path = fields.next()?.trim_ascii_start();
    path.starts_with(SHARED_MEMORY.as_bytes()).then(|| str::from_utf8(number).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_known_by_its_number_whatever_its_name() {
        let line = |path: &[u8]| mapped(&[b"7f00-7f01 rw-s 00000000 00:19 4711      ", path].concat());
        assert_eq!(line(b"/dev/shm/sem.a"), Some(4711));
        assert_eq!(line(b"/dev/shm/\xff\xfe (deleted)"), Some(4711));
        assert_eq!(line(b"/home/dev/shm"), None);
        assert_eq!(mapped(b"7f00-7f01 rw-p 00000000 00:00 0 "), None);
    }

    #[test]
    fn what_a_run_left_goes_with_the_last_of_its_user() {
        let own = nix::unistd::geteuid();
        // Nobody's, where that can be: what else root has there is none of this test's.
        let uid = if own.is_root() { 54_321 } else { own.as_raw() };
        let path = |name: &str| Path::new(SHARED_MEMORY).join(format!("leadersboard-{name}-{}", std::process::id()));
        let make = |name: &str| {
            fs::write(path(name), "").unwrap();
            std::os::unix::fs::chown(path(name), Some(uid), None).unwrap();
        };
        make("before");
        let first = SharedMemory::of(uid);
        make("left");
        let second = SharedMemory::of(uid);
        make("passed-on");
        drop(first);
        assert!(path("left").exists() && path("passed-on").exists());
        drop(second);
        assert!(!path("left").exists() && !path("passed-on").exists() && path("before").exists());
        fs::remove_file(path("before")).unwrap();
    }
}
