//! Folders whose mode does not depend on the umask: jobs run as other users, and must come through some of them.

use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_PATH};
use nix::unistd::geteuid;

/// Everybody may come through and sees nothing but what they know of; only the owner may change it.
pub(crate) const PASSABLE: u32 = 0o711;

/// Makes a folder with exactly this mode.
///
/// # Errors
/// With the path of the folder.
pub(crate) fn make(path: &Path, mode: u32) -> io::Result<()> {
    let created = DirBuilder::new().mode(mode).create(path);
    created.and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode))).map_err(|error| named(path, &error))
}

/// Makes a folder that everybody may come through.
///
/// # Errors
/// With the path of the folder.
pub(crate) fn make_passable(path: &Path) -> io::Result<()> {
    make(path, PASSABLE)
}

/// Makes a folder and its missing parents, which everybody may come through. A folder that exists stays as it is.
///
/// # Errors
/// With the path of the folder that could not be made.
pub fn make_all_passable(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_all_passable(parent)?;
    }
    match make_passable(path) {
        // Another worker was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes a folder as [`make_all_passable`] does, and opens one that exists and is this user's.
///
/// # Errors
/// With the path of the folder.
pub fn open_up(path: &Path) -> io::Result<()> {
    make_all_passable(path)?;
    // What a link leads to is for whoever made the link to open.
    let found = fs::symlink_metadata(path).map_err(|error| named(path, &error))?;
    if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & PASSABLE != PASSABLE {
        let mode = (found.mode() & 0o7777) | PASSABLE;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| named(path, &error))?;
    }
    Ok(())
}

/// Sets the mode of a file or folder that belongs to this process's user, whatever its mode is now. Follows no link.
///
/// # Errors
/// If it belongs to another user, or is neither a file nor a folder.
pub(crate) fn set_own_mode(path: &Path, mode: impl FnOnce(&Metadata) -> u32) -> io::Result<()> {
    let found = OpenOptions::new().read(true).custom_flags(O_PATH | O_NOFOLLOW).open(path)?;
    let metadata = found.metadata()?;
    if metadata.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("it belongs to the user with uid {}", metadata.uid())));
    }
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(io::Error::other("it is neither a file nor a folder"));
    }
    let wanted = mode(&metadata);
    if metadata.mode() & 0o7777 == wanted {
        return Ok(());
    }
    // By what was opened, never by what its name may lead to.
    fs::set_permissions(format!("/proc/self/fd/{}", found.as_raw_fd()), Permissions::from_mode(wanted))
}

/// The error with the path that it is about, which the system leaves out.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_made_can_be_passed_and_what_was_there_stays() {
        let top = tempfile::tempdir().unwrap();
        let there = top.path().join("there");
        make(&there, 0o700).unwrap();
        let path = there.join("a/b");
        make_all_passable(&path).unwrap();
        assert_eq!([mode(&there), mode(&there.join("a")), mode(&path)], [0o700, 0o711, 0o711]);
        open_up(&there).unwrap();
        assert_eq!(mode(&there), 0o711);
    }

    #[test]
    fn the_mode_of_what_is_closed_can_be_set_and_no_link_is_followed() {
        let top = tempfile::tempdir().unwrap();
        let (closed, link) = (top.path().join("closed"), top.path().join("link"));
        make(&closed, 0).unwrap();
        set_own_mode(&closed, |_| 0o700).unwrap();
        assert_eq!(mode(&closed), 0o700);
        std::os::unix::fs::symlink(&closed, &link).unwrap();
        assert!(set_own_mode(&link, |_| 0o777).is_err());
        assert_eq!(mode(&closed), 0o700);
    }

    #[test]
    fn an_error_names_the_folder() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("file");
        fs::write(&file, "").unwrap();
        for error in [make(&file, 0o700).unwrap_err(), make_all_passable(&file.join("below")).unwrap_err()] {
            assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
        }
    }
}
