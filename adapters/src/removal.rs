//! Removing the files of submissions and jobs, and an error that names the folder, its owner and the cure.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Uid, User, geteuid};

/// Removes a folder with all that is in it; one that is not there is removed already.
///
/// # Errors
/// If it can't be removed; see [`not_removed`].
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(not_removed(folder, error)),
        _ => Ok(()),
    }
}

/// The error with the folder's path; if a permission is missing, also with its owner, this process's user and the cure.
pub(crate) fn not_removed(folder: &Path, error: io::Error) -> io::Error {
    let path = folder.display();
    if error.kind() != ErrorKind::PermissionDenied {
        return io::Error::new(error.kind(), format!("{path} can't be deleted: {error}"));
    }
    let me = geteuid();
    let owner = |path: &Path| std::fs::symlink_metadata(path).ok().map(|found| Uid::from_raw(found.uid()));
    // A folder of this user's own is in somebody else's.
    let owner = owner(folder).filter(|owner| *owner != me).or_else(|| folder.parent().and_then(owner));
    let owner = owner.map_or_else(|| "an unknown user".to_owned(), name);
    let cure = "Run `api` and `worker` as the same Unix user, and give that user the folder (chown -R)";
    let what = format!("{path} can't be deleted: it belongs to {owner}, and this process runs as {}. {cure}", name(me));
    io::Error::new(error.kind(), what)
}

/// `alice (1000)`, or `user 1000` if it has no name.
fn name(user: Uid) -> String {
    match User::from_uid(user) {
        Ok(Some(found)) => format!("{} ({user})", found.name),
        _ => format!("user {user}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_names_the_folder_its_owner_and_the_cure() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("submission");
        std::fs::create_dir(&folder).unwrap();
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        // Only root can give a folder away.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&folder, Some(54_321), None).unwrap();
            let told = not_removed(&folder, denied()).to_string();
            assert!(told.contains("belongs to user 54321") && told.contains("runs as root (0)"), "{told}");
        }
        let told = not_removed(&folder, denied()).to_string();
        assert!(told.contains(&folder.display().to_string()) && told.contains("same Unix user"), "{told}");
        let busy = not_removed(&folder, io::Error::from(ErrorKind::ResourceBusy)).to_string();
        assert!(busy.contains("submission can't be deleted") && !busy.contains("Unix user"), "{busy}");
        remove_folder(&folder).unwrap();
        assert!(!folder.exists());
        remove_folder(&folder).unwrap();
    }
}
