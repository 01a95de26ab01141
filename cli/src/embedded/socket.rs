//! Where the private Redis's socket is.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use adapters::ids::random_hex;

/// The longest path of a unix socket on Linux: `sun_path` has 108 bytes, the last one a zero.
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// A path for the socket: in `folder`, or, where that is too long, in a new private directory under `temporary`.
pub(super) fn choose(folder: &Path, temporary: &Path) -> io::Result<PathBuf> {
    let near = folder.join("redis.sock");
    if near.as_os_str().len() <= MAX_SOCKET_PATH_BYTES {
        return Ok(near);
    }
    let private = temporary.join(format!("leadersboard-{}", random_hex::<8>()));
    DirBuilder::new().mode(0o700).create(&private)?;
    Ok(private.join("redis.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_is_replaced_by_a_private_one() {
        let temporary = tempfile::tempdir().unwrap();
        let near = choose(Path::new("/srv/data/redis"), temporary.path()).unwrap();
        assert_eq!(near, Path::new("/srv/data/redis/redis.sock"));
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        let elsewhere = choose(&long, temporary.path()).unwrap();
        assert!(elsewhere.starts_with(temporary.path()));
    }
}
