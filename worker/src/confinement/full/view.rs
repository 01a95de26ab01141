//! What a job sees of its machine.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::confinement::level::Network;

/// What a program sees of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// Files and folders that it may read, and execute from.
    pub(crate) readable: Vec<PathBuf>,
    /// Folders whose names it may read, and no more.
    pub(crate) listed: Vec<PathBuf>,
    /// Folders that it may write.
    pub(crate) writable: Vec<PathBuf>,
    /// Device files that it may use.
    pub(crate) devices: Vec<PathBuf>,
    /// The version of Landlock that holds it to these.
    pub(crate) landlock: i32,
    /// What network it has.
    pub(crate) network: Network,
    /// An empty folder to build its own root in, where it has one.
    pub(crate) root: PathBuf,
    /// What its `/tmp` is, where it has a root of its own.
    pub(crate) temporary: PathBuf,
    /// The size of its `/dev/shm`, where it has one of its own.
    pub(crate) shm_bytes: u64,
}

/// What every program needs of its system, to be read.
pub(crate) const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/sys"];

/// What programs need of `/etc`. Not all of it: the service's own settings may lie there, readable to its user.
pub(crate) const ETC: &[&str] = &[
    "/etc/OpenCL",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/nvidia",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/python3",
    "/etc/python3.11",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/terminfo",
    "/etc/timezone",
    "/etc/vulkan",
];

/// The devices that every program may use.
pub(crate) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Where shared memory and semaphores lie.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// The folder that jobs may read and that would show them `secret`, if there is one.
pub(crate) fn reveals<'a>(readable: &'a [PathBuf], secret: &Path) -> Option<&'a Path> {
    readable.iter().map(PathBuf::as_path).find(|folder| secret.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_readable_folder_is_revealed() {
        let readable: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        assert_eq!(reveals(&readable, Path::new("/usr/local/board/data")), Some(Path::new("/usr")));
        assert_eq!(reveals(&readable, Path::new("/usrlocal/data")), None);
        assert_eq!(reveals(&readable, Path::new("/srv/data")), None);
    }
}
