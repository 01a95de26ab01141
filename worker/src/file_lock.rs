//! Locks on files, which the kernel releases when their holder ends, however it ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Locks a file, which is made if it is not there; `None` if another holder excludes this one. `how` must not wait.
pub(crate) fn try_lock(path: &Path, how: FlockArg) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let lock = match Flock::lock(file, how) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    // It may have been removed since it was opened: then it excludes nobody.
    let (held, named) = (lock.metadata()?, fs::metadata(path));
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())).then_some(lock))
}
