//! Environments that were installed, kept by what was asked for, for all workers under one work root.
//!
//! `environments/<digest>` is there only when it is complete: it is built elsewhere and moved into place. Beside it
//! lies `<digest>.lock`, held exclusively by the process that builds or removes it, and shared by runs that use it. The
//! kernel lets go of the locks of a process that dies; what it was building goes with its station.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{getegid, geteuid};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens, syncfs};

use crate::machine::file_lock::try_lock;
use crate::machine::folder::open_up;
use crate::machine::remove_tree::remove_tree;
use crate::python::Python;

/// So many are kept.
pub(crate) const KEPT: usize = 20;
const LOCK: &str = "lock";

/// The folder of all environments.
#[derive(Debug, Clone)]
pub(crate) struct Environments {
    folder: PathBuf,
}

/// One that is complete. It stays as it is until this is dropped.
#[derive(Debug)]
pub(crate) struct Environment {
    path: PathBuf,
    _lock: Flock<File>,
}

/// What there is of an environment.
#[derive(Debug)]
pub(crate) enum Place {
    /// All of it.
    Ready(Environment),
    /// Nothing, and nobody else is at it.
    Vacant(Vacancy),
    /// Somebody is at it.
    Busy,
}

/// The place of an environment that is to be built, for nobody else to build.
#[derive(Debug)]
pub(crate) struct Vacancy {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Environment {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The interpreter that sees what is installed in it, and nothing else.
    pub(crate) fn python(&self, base: &Python) -> Python {
        Python { path: interpreter(&self.path), ..base.clone() }
    }
}

/// The interpreter of the environment at this path.
pub(crate) fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

impl Environments {
    /// Those under this work root.
    pub(crate) fn of(work_root: &Path) -> io::Result<Self> {
        let folder = work_root.join("environments");
        // Jobs come through, and see nothing but what they know of.
        open_up(&folder)?;
        Ok(Self { folder })
    }

    /// What there is of the environment with this digest.
    pub(crate) fn look(&self, digest: &str) -> io::Result<Place> {
        let path = self.folder.join(digest);
        let file = path.with_extension(LOCK);
        let Some(shared) = try_lock(&file, FlockArg::LockSharedNonblock)? else { return Ok(Place::Busy) };
        if path.is_dir() {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            // The order in which they were used.
            futimens(&*shared, &Timestamps { last_access: now, last_modification: now })?;
            return Ok(Place::Ready(Environment { path, _lock: shared }));
        }
        drop(shared);
        let Some(lock) = try_lock(&file, FlockArg::LockExclusiveNonblock)? else { return Ok(Place::Busy) };
        // Somebody was faster: the next look finds it.
        if path.is_dir() {
            return Ok(Place::Busy);
        }
        Ok(Place::Vacant(Vacancy { path, _lock: lock }))
    }

    /// Removes all that no run uses, by way of `station`.
    pub(crate) fn clear(&self, station: &Path) -> io::Result<()> {
        self.prune(station, 0)
    }

    /// Removes those that were not used for longest, as far as there are more than `most` of them, by way of `station`.
    pub(crate) fn prune(&self, station: &Path, most: usize) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, PathBuf)> = vec![];
        for entry in fs::read_dir(&self.folder)? {
            let file = entry?.path();
            if file.extension().is_none_or(|extension| extension != LOCK) {
                continue;
            }
            let path = file.with_extension("");
            match fs::metadata(&file).and_then(|metadata| metadata.modified()) {
                Ok(used) if path.is_dir() => kept.push((used, path)),
                // The lock of what a worker that died would have built, or one that was just removed.
                _ => remove(&path, station)?,
            }
        }
        kept.sort();
        let mut surplus = kept.len().saturating_sub(most);
        for (_, path) in kept {
            if surplus == 0 {
                break;
            }
            remove(&path, station)?;
            surplus -= usize::from(!path.exists());
        }
        Ok(())
    }
}

impl Vacancy {
    /// Puts what was built there, once no process that was at it is left.
    pub(crate) fn fill(self, built: &Path) -> io::Result<()> {
        take_over(built)?;
        fs::set_permissions(built, Permissions::from_mode(0o755))?;
        // A name that is there after a power cut stands for content that is there.
        syncfs(File::open(built)?)?;
        fs::rename(built, &self.path)
    }

    /// Leaves it as if nobody had wanted it.
    pub(crate) fn give_up(self) {
        // It costs nothing where it stays.
        let _ = fs::remove_file(self.path.with_extension(LOCK));
    }
}

/// Removes an environment and its lock, unless somebody is at it or uses it.
fn remove(path: &Path, station: &Path) -> io::Result<()> {
    let file = path.with_extension(LOCK);
    let Some(_lock) = try_lock(&file, FlockArg::LockExclusiveNonblock)? else { return Ok(()) };
    if path.is_dir() {
        // Out of sight first: half of one must never be taken for all of it.
        let away = station.join(path.file_name().unwrap_or_default()).with_extension("removed");
        fs::rename(path, &away)?;
        remove_tree(&away)?;
    }
    fs::remove_file(&file)
}

/// Makes a tree the platform's own, to be read by all and written by none. Links are left as they are.
fn take_over(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?;
    lchown(path, Some(geteuid().as_raw()), Some(getegid().as_raw()))?;
    if kind.is_symlink() {
        return Ok(());
    }
    if kind.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(path)? {
            take_over(&entry?.path())?;
        }
        return fs::set_permissions(path, Permissions::from_mode(0o555));
    }
    if !kind.is_file() {
        return Err(io::Error::other(format!("{} is neither a file nor a folder", path.display())));
    }
    let executable = kind.mode() & 0o111 != 0;
    fs::set_permissions(path, Permissions::from_mode(if executable { 0o555 } else { 0o444 }))
}

#[cfg(test)]
mod tests;
