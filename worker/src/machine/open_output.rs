//! Opening what a job wrote: only after its processes are gone, beneath its output directory, following no link,
//! without blocking.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2, readlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("is not there")]
    Missing,
    #[error("is a symbolic link")]
    Link,
    #[error("is not a regular file")]
    Kind,
    #[error("has another name elsewhere (a hard link)")]
    HardLink,
    #[error("can't be opened: {0}")]
    Unreadable(Errno),
}

/// Opens an output directory. One that its job closed to itself is opened up: it was the worker's before.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // It is a directory and no link, and nobody is left who could change that. What can't be opened up is told
            // by the second try.
            let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
            open(path, flags, Mode::empty())
        }
        opened => opened,
    }
}

/// Opens a folder within a directory of an output.
pub(crate) fn open_folder(within: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    open_beneath(within, name, OFlags::DIRECTORY)
}

/// Opens a regular file with one name, beneath an output directory, and gives its size in bytes.
pub(crate) fn open_file(within: impl AsFd, path: impl Arg) -> Result<(fs::File, u64), Refusal> {
    let (file, stat) = open_regular(within, path)?;
    if stat.st_nlink != 1 {
        return Err(Refusal::HardLink);
    }
    Ok((file, size(&stat)))
}

/// Opens a regular file beneath an output directory, however many names it has.
pub(crate) fn open_regular(within: impl AsFd, path: impl Arg) -> Result<(fs::File, Stat), Refusal> {
    let file = open_beneath(within, path, OFlags::NONBLOCK | OFlags::NOCTTY).map_err(|error| match error {
        Errno::NOENT => Refusal::Missing,
        Errno::LOOP => Refusal::Link,
        // No such device behind a device's node, or behind a socket's.
        Errno::NXIO => Refusal::Kind,
        other => Refusal::Unreadable(other),
    })?;
    let stat = fstat(&file).map_err(Refusal::Unreadable)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refusal::Kind);
    }
    Ok((file.into(), stat))
}

/// The size of a file in bytes.
pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Whether a link stays beneath the directory `output`, which was opened as `within`. Nothing that it leads to is
/// opened for reading.
pub(crate) fn stays_within(within: impl AsFd, output: &Path, link: &str) -> bool {
    let Ok(target) = readlinkat(&within, link, Vec::new()) else { return false };
    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
    let path = match target.strip_prefix(output) {
        // By the name that the job was told.
        Ok(rest) if rest.as_os_str().is_empty() => return true,
        Ok(rest) => rest,
        Err(_) => Path::new(link),
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let opened = openat2(within, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    // What was removed meanwhile, or leads round in a circle, is lost to nobody.
    matches!(opened, Ok(_) | Err(Errno::NOENT | Errno::LOOP))
}

fn open_beneath(within: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(within, path, flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
}
