//! The folder for the locks that all workers of one user on a machine share. No job can reach it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

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

/// Makes a folder that nobody else may enter, if it is not there.
fn own(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // Where everybody may make folders somebody may have been faster.
    let found = fs::symlink_metadata(path)?;
    let is_own = found.is_dir() && found.uid() == geteuid().as_raw();
    let is_closed = found.mode() & 0o777 == 0o700;
    if is_own && is_closed {
        Ok(())
    } else {
        Err(io::Error::other("it belongs to another user, or others may enter it"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own");
        own(&path).unwrap();
        own(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o710)).unwrap();
        assert!(own(&path).is_err());
        let link = folder.path().join("link");
        symlink(folder.path(), &link).unwrap();
        assert!(own(&link).is_err());
    }
}
