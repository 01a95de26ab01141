//! The folder for the locks that all workers of one user on a machine share. No job can reach it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::machine::folder::set_own_mode;

/// Where it may lie. A user's workers come to the same answer: the first place where they may have a folder.
const PLACES: &[&str] = &["/run", "/run/lock", "/var/tmp", "/tmp"];

/// The folder of this process's user.
///
/// # Errors
/// If there is no place for it, with the reason of each.
pub(crate) fn machine_folder() -> io::Result<PathBuf> {
    let mut refused = Vec::new();
    for place in PLACES {
        let path = Path::new(place).join(format!("leadersboard-{}", geteuid()));
        match own(&path) {
            Ok(()) => return Ok(path),
            Err(error) => refused.push(format!("{}: {error}", path.display())),
        }
    }
    Err(io::Error::other(format!(
        "there is no place for the locks that the workers of this machine share ({}); make one of these folders \
         writable for this user alone",
        refused.join("; ")
    )))
}

/// Makes a folder that only its owner may enter. Repairs the mode of a folder that exists and is this user's: without
/// namespaces a job can change it, and a worker that went elsewhere would run a second job beside that one.
fn own(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // Where everybody may make folders somebody may have been faster.
    if !fs::symlink_metadata(path)?.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    set_own_mode(path, |_| 0o700)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_of_this_user_is_closed_to_others_again_and_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own");
        for mode in [0o700, 0o701, 0o710, 0o4777, 0o400, 0] {
            own(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            own(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_folder_or_another_users_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [link, file, foreign] = ["link", "file", "foreign"].map(|name| folder.path().join(name));
        symlink(folder.path(), &link).unwrap();
        fs::write(&file, "").unwrap();
        assert!(own(&link).is_err() && own(&file).is_err());
        if geteuid().is_root() {
            fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(54_321), None).unwrap();
            assert!(own(&foreign).is_err());
        }
    }
}
