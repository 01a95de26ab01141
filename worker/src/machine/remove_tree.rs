//! Removes what a job left, however deep it nested that and whatever it closed.
//!
//! No recursion, and two descriptors at most: a folder in a folder is first moved up to the top. Links are removed,
//! never followed. Only for a tree that nobody changes any more.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, rmdir, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes a directory with all that is in it; one that is not there is removed already.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open_up(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut moved = 0_u64;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if is_folder_still(&top, &name)? {
                empty(&open_up(&top, &name)?, &top, &mut moved)?;
                unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(rmdir(path)?)
}

/// Removes everything in a folder except the folders, which move up.
fn empty(folder: &OwnedFd, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    for name in names(folder)? {
        if !is_folder_still(folder, &name)? {
            continue;
        }
        // A folder that is moved has to be writable itself.
        open_up(folder, &name)?;
        loop {
            *moved += 1;
            match renameat(folder, &name, top, format!(".removed-{moved}")) {
                // The job chose that name as well.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                done => break done?,
            }
        }
    }
    Ok(())
}

/// Removes what has this name unless it is a folder.
fn is_folder_still(within: &OwnedFd, name: &CString) -> io::Result<bool> {
    match unlinkat(within, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR | Errno::PERM) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Opens a folder, which becomes its owner's to read and change.
fn open_up(within: impl AsFd, name: impl Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(within.as_fd(), name, flags | OFlags::PATH, Mode::empty())?;
    // By what was opened, never by what its name may lead to. What can't be opened up is told by what follows.
    let opened = format!("/proc/self/fd/{}", found.as_raw_fd());
    let _ = fs::set_permissions(opened, Permissions::from_mode(0o700));
    openat(within, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_closed_linked_or_named_to_be_in_the_way_goes_and_nothing_else() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir_all(top.join(".removed-1/full")).unwrap();
        fs::write(top.join(".removed-2"), "").unwrap();
        fs::write(top.join("a/b/file"), "").unwrap();
        symlink(outside.path(), top.join("a/link")).unwrap();
        symlink(outside.path(), top.join("link")).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(top.join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.path().join("kept").exists());
        remove_tree(&top).unwrap();
    }

    #[test]
    fn no_depth_is_too_deep() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut at = openat(CWD, &top, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..20_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }
}
