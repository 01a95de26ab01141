//! Locks on files, which the kernel releases when their holder ends, however it ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::machine::folder::set_own_mode;

/// Locks a file, which is made if it is not there; `None` if another holder excludes this one. `how` must not wait.
///
/// A job that is the worker's user can take the owner's rights from the file and its folder. They are given back once.
pub(crate) fn try_lock(path: &Path, how: FlockArg) -> io::Result<Option<Flock<File>>> {
    match try_once(path, how) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // What can't be repaired is told by the second try.
            for (place, right) in path.parent().map(|folder| (folder, 0o700)).into_iter().chain([(path, 0o600)]) {
                let _ = set_own_mode(place, |found| (found.mode() & 0o7777) | right);
            }
            try_once(path, how)
        }
        tried => tried,
    }
}

fn try_once(path: &Path, how: FlockArg) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let lock = match Flock::lock(file, how) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    // It may have been removed since it was opened: then it excludes nobody.
    let held = lock.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok(((named.dev(), named.ino()) == (held.dev(), held.ino())).then_some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
