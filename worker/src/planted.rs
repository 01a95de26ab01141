//! Reading a file out of a directory that somebody else could write, or whose content somebody else chose.
//!
//! Beneath the directory, following no link, without blocking, and bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

/// What was found.
#[derive(Debug, PartialEq)]
pub(crate) enum Planted {
    /// What is in the file.
    Content(Vec<u8>),
    /// There is no such file.
    Nothing,
    /// It is not what it must be; the sentence says why.
    Refused(String),
}

/// Reads the file of this name in `folder`, which may have so many bytes.
///
/// # Errors
/// If the directory itself can't be read, which is the platform's fault.
pub(crate) fn read(folder: &Path, name: &str, max_bytes: u64) -> io::Result<Planted> {
    let folder = open(folder, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = match openat2(&folder, name, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Planted::Nothing),
        Err(Errno::LOOP) => return Ok(Planted::Refused(format!("{name} is a symbolic link"))),
        Err(error) => return Ok(Planted::Refused(format!("{name} can't be opened: {error}"))),
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Planted::Refused(format!("{name} is not a regular file")));
    }
    if stat.st_nlink != 1 {
        return Ok(Planted::Refused(format!("{name} has another name elsewhere (a hard link)")));
    }
    let mut content = Vec::new();
    File::from(file).take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Ok(Planted::Refused(format!("{name} is larger than {} KiB", max_bytes >> 10)));
    }
    Ok(Planted::Content(content))
}
