//! Shared memory of a run: it is memory, wherever it lies as files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::sandbox::SHARED_MEMORY;

/// Where the shared memory of a run lies, where the kernel does not count it as the run's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SharedMemory {
    /// In the run's own mount namespace.
    Own,
    /// In the machine's, among that of others: what belongs to this user and was not there before.
    Machine {
        /// The user.
        uid: u32,
        /// What was there before the run.
        before: BTreeSet<OsString>,
    },
}

impl SharedMemory {
    /// What a run that begins now will have in the machine's, as this user.
    pub(crate) fn of(uid: u32) -> Self {
        Self::Machine { uid, before: files_of(uid).map(|(name, _)| name).collect() }
    }

    /// What it takes now. `tree` are the processes of the run, its supervisor first.
    pub(crate) fn bytes(&self, tree: &[i32]) -> u64 {
        match self {
            Self::Own => {
                // The supervisor lets nobody look into it, and stands outside.
                let inside = |pid: &i32| statvfs(Path::new(&format!("/proc/{pid}/root{SHARED_MEMORY}"))).ok();
                let space = tree.iter().skip(1).rev().find_map(inside);
                space.map_or(0, |space| (space.blocks() - space.blocks_free()) * space.fragment_size())
            }
            Self::Machine { uid, before } => {
                files_of(*uid).filter(|(name, _)| !before.contains(name)).map(|(_, bytes)| bytes).sum()
            }
        }
    }

    /// Removes what the run has left, which nobody else would. What some process still uses stays.
    pub(crate) fn sweep(&self) {
        let Self::Machine { uid, before } = self else { return };
        let left: Vec<OsString> = files_of(*uid).map(|(name, _)| name).filter(|name| !before.contains(name)).collect();
        if left.is_empty() {
            return;
        }
        let used = used();
        for name in left {
            let path = Path::new(SHARED_MEMORY).join(&name);
            if !used.contains(path.as_os_str()) {
                // It belongs to the run's user, and to the folder itself: no link is followed.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The files of a user in the machine's shared memory, and what they take.
fn files_of(uid: u32) -> impl Iterator<Item = (OsString, u64)> {
    let files = fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten();
    let described = files.filter_map(|file| Some((file.file_name(), file.metadata().ok()?)));
    described.filter(move |(_, metadata)| metadata.uid() == uid).map(|(name, metadata)| (name, metadata.blocks() * 512))
}

/// The files in shared memory that processes have open or mapped, as far as they can be seen.
fn used() -> BTreeSet<OsString> {
    let mut used = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let maps = fs::read_to_string(process.path().join("maps")).unwrap_or_default();
        used.extend(maps.lines().filter_map(|line| line.find(SHARED_MEMORY).map(|at| OsString::from(&line[at..]))));
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        used.extend(open.filter_map(|descriptor| Some(fs::read_link(descriptor.path()).ok()?.into_os_string())));
    }
    used
}
