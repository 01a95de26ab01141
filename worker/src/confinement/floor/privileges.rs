//! Limits of a process, and the privileges it gives up.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use serde::{Deserialize, Serialize};

/// Who a program runs as, by uid and gid of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity(pub(crate) u32);

/// What each process of a run may have at most. No limit of address space: it breaks CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessLimits {
    /// Processes and threads of its user, which is the run's own where it can be; none: as many as its parent may.
    pub(crate) processes: Option<u64>,
    /// The size of a file, in bytes.
    pub(crate) file_bytes: u64,
}

/// Open files of a process: enough for data loaders, few enough that a bomb of them is harmless.
const OPEN_FILES: u64 = 65_536;

/// The kernel is to look at jobs first when it must kill something. From -1000 to 1000.
const OOM_SCORE: &str = "500";

/// Bounds this process and all that it will start, and marks them.
pub(crate) fn limit(limits: &ProcessLimits, mark: u64) -> io::Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_CORE, Some(0)),
        (Resource::RLIMIT_NOFILE, Some(OPEN_FILES)),
        (Resource::RLIMIT_FSIZE, Some(limits.file_bytes)),
        (Resource::RLIMIT_NPROC, limits.processes),
        (Resource::RLIMIT_MSGQUEUE, Some(0)),
        (Resource::RLIMIT_LOCKS, Some(mark)),
    ] {
        let Some(most) = most else { continue };
        let (_, hard) = getrlimit(resource)?;
        let most = most.min(hard);
        setrlimit(resource, most, most)?;
    }
    // Where that can't be written the limits hold all the same.
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

/// Becomes this user and nothing more, for good.
pub(crate) fn drop_to(identity: Option<Identity>) -> io::Result<()> {
    if let Some(Identity(number)) = identity {
        let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    let nothing = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing })?;
    set_no_new_privs(true)?;
    Ok(())
}
