//! A worker process's place under the work root: a directory that holds its run directories, locked while it lives.
//!
//! A directory whose lock can be taken belongs to a process that is dead, whatever its id is used for by now.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use events::{Consumer, Fence};
use nix::fcntl::{Flock, FlockArg};

use crate::machine::folder;
use crate::machine::remove_tree::remove_tree;

const LOCK: &str = "worker.lock";
/// What the names of notes begin with; the fence of a run follows.
const UNRECORDED: &str = "unrecorded-";

/// A directory under the work root, and the lock that says whose it is.
#[derive(Debug)]
pub(crate) struct WorkerDirectory {
    path: PathBuf,
    consumer: Consumer,
    /// Held until this is dropped.
    _lock: Flock<File>,
}

impl WorkerDirectory {
    /// Makes the directory `name` for a process that begins.
    pub(crate) fn take(work_root: &Path, name: &str, consumer: &Consumer) -> io::Result<Self> {
        let path = work_root.join(name);
        folder::make_all_passable(work_root)?;
        folder::make_passable(&path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path.join(LOCK))?;
        let mut lock = lock(file)?.ok_or_else(|| io::Error::other("another process took it"))?;
        lock.write_all(consumer.as_str().as_bytes())?;
        lock.sync_all()?;
        Ok(Self { path, consumer: consumer.clone(), _lock: lock })
    }

    /// The directories of processes that are dead.
    pub(crate) fn of_the_dead(work_root: &Path) -> io::Result<Vec<Self>> {
        let mut directories = Vec::new();
        for entry in fs::read_dir(work_root)? {
            let path = entry?.path();
            // What has no lock is not a directory, or one that is just being made or removed.
            let Ok(file) = OpenOptions::new().read(true).write(true).open(path.join(LOCK)) else { continue };
            let Some(mut lock) = lock(file)? else { continue };
            let mut name = String::new();
            lock.read_to_string(&mut name)?;
            if let Ok(consumer) = name.parse() {
                directories.push(Self { path, consumer, _lock: lock });
            }
        }
        Ok(directories)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The process it belongs to, or belonged to.
    pub(crate) const fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Notes in the directory at this path that its worker stops in order, and could not record the end of a run.
    pub(crate) fn note_unrecorded(path: &Path, fence: &Fence) -> io::Result<()> {
        File::create(path.join(format!("{UNRECORDED}{fence}"))).map(drop)
    }

    /// Whether that was noted of a run.
    pub(crate) fn is_unrecorded(&self, fence: &Fence) -> bool {
        self.path.join(format!("{UNRECORDED}{fence}")).is_file()
    }

    /// Removes what is in it, but not itself: who it belonged to is still to be known, and what was noted of its runs.
    pub(crate) fn empty(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == LOCK || name.as_encoded_bytes().starts_with(UNRECORDED.as_bytes()) {
                continue;
            }
            if entry.file_type()?.is_dir() { remove_tree(&entry.path())? } else { fs::remove_file(entry.path())? }
        }
        Ok(())
    }

    /// Removes it with all that is in it.
    pub(crate) fn close(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

fn lock(file: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directories_of_the_dead_are_found() {
        let root = tempfile::tempdir().unwrap();
        let alive = WorkerDirectory::take(root.path(), "a", &"w-a".parse().unwrap()).unwrap();
        drop(WorkerDirectory::take(root.path(), "b", &"w-b".parse().unwrap()).unwrap());
        fs::create_dir_all(root.path().join("b/run/work")).unwrap();
        fs::write(root.path().join("b/run/work/large"), "x").unwrap();
        let [noted, other] =
            ["00112233445566778899aabb", "00112233445566778899aabc"].map(|fence| fence.parse().unwrap());
        WorkerDirectory::note_unrecorded(&root.path().join("b"), &noted).unwrap();
        for directory in WorkerDirectory::of_the_dead(root.path()).unwrap() {
            directory.empty().unwrap();
        }
        assert!(!root.path().join("b/run").exists(), "what it left is gone");
        let dead = WorkerDirectory::of_the_dead(root.path()).unwrap();
        assert_eq!(dead.iter().map(|directory| directory.consumer().as_str()).collect::<Vec<_>>(), ["w-b"]);
        for directory in dead {
            assert!(directory.is_unrecorded(&noted) && !directory.is_unrecorded(&other));
            directory.close().unwrap();
        }
        alive.close().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
