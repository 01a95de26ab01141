//! The directory of one run: `work` with the submission's files, `output` for what the job leaves, and its homes.
//!
//! Its own entries are the platform's; what is in its parts is the job's from [`RunDirectory::hand_over`] on.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use tokio::task::spawn_blocking;

use crate::confinement::Identity;
use crate::confinement::limits::{Share, SharedDisk};
use crate::machine::folder;
use crate::machine::remove_tree::remove_tree;

/// The directory of one run.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    /// What it takes of the disk, from its first program on until it is removed.
    share: OnceLock<Share>,
}

impl RunDirectory {
    /// Makes a directory `name` with all its parts.
    pub(crate) fn create(station: &Path, name: &str) -> io::Result<Self> {
        let directory = Self { path: station.join(name), share: OnceLock::new() };
        // The job's user comes through, and sees nothing but what it knows of.
        folder::make_passable(&directory.path)?;
        for part in directory.parts().into_iter().chain([directory.root()]) {
            folder::make(&part, 0o700)?;
        }
        Ok(directory)
    }

    /// Gives what is in it to the user that the job runs as. Before the job has begun: nothing in it is planted.
    pub(crate) async fn hand_over(&self, Identity(number): Identity) -> io::Result<()> {
        let parts = self.parts();
        // A submission may have many files.
        let done = spawn_blocking(move || parts.iter().try_for_each(|part| hand_over(part, number))).await;
        done.map_err(io::Error::other)?
    }

    /// Makes it and the station that holds it passable again, should a job of the worker's own user have closed them.
    pub(crate) fn reopen(&self) {
        for path in self.path.parent().into_iter().chain([self.path.as_path()]) {
            if let Err(error) = folder::set_own_mode(path, |_| folder::PASSABLE) {
                tracing::warn!(%error, path = %path.display(), "the mode of a folder of this worker can't be restored");
            }
        }
    }

    /// Opens the output again to the platform, should the job have closed it. Once nothing of the job is left.
    pub(crate) fn reopen_output(&self) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let output = rustix::fs::open(self.output(), flags, Mode::empty())?;
        // By what was opened, never by what its name may lead to.
        let opened = format!("/proc/self/fd/{}", output.as_raw_fd());
        fs::set_permissions(opened, Permissions::from_mode(0o700))
    }

    /// Counts what it takes of this disk from now on.
    pub(crate) async fn take_share(&self, disk: &Arc<SharedDisk>) {
        if self.share.get().is_none() {
            let share = disk.join(self.parts().to_vec()).await;
            // Nobody else was at it.
            let _ = self.share.set(share);
        }
    }

    /// What it takes of the disk.
    pub(crate) fn share(&self) -> Option<&Share> {
        self.share.get()
    }

    /// All that the job may write.
    pub(crate) fn parts(&self) -> [PathBuf; 4] {
        [self.work(), self.output(), self.home(), self.temporary()]
    }

    /// Where a job with a root of its own has it built.
    pub(crate) fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// Where the submission's files are, and where the program runs.
    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// What the program is given as `--output`.
    pub(crate) fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// The program's `HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// The program's `TMPDIR`.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Removes it with all that is in it.
    pub(crate) fn remove(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

fn hand_over(path: &Path, number: u32) -> io::Result<()> {
    lchown(path, Some(number), Some(number))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), number)?;
        }
    }
    Ok(())
}
