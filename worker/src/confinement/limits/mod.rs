//! What a run may use, and who holds it to that.
//!
//! Memory and processes are the kernel's to bound where a control group can be had: `cgroup_v2` where a part of the
//! hierarchy is delegated to the worker, else `cgroup_v1` where that can be written. Else a `watchdog` looks, which is
//! soft: what is allocated between two looks is not denied. Disk space is looked at in any case.

mod cgroup_v1;
mod cgroup_v2;
mod disk;
mod largest;
mod nameless;
mod reserve;
mod shared_memory;
mod watch;
mod watchdog;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(crate) use largest::{LargestFile, Measure, largest_file};
pub(crate) use reserve::{Share, SharedDisk, Shortage};
pub(crate) use shared_memory::{SharedMemory, names_in_shared_memory, sweep, users_of_shared_memory};
pub(crate) use watch::LimitWatch;

use crate::machine::procfs;

/// What one run may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Memory of all its processes, shared memory included, in bytes.
    pub(crate) memory_bytes: u64,
    /// Processes and threads.
    pub(crate) processes: u64,
    /// What it may have on disk, in bytes.
    pub(crate) disk_bytes: u64,
}

/// How many files and folders a run may have: a million empty ones fill a disk as well.
pub(crate) const MAX_FILES: u64 = 250_000;

/// Makes the groups that hold runs to their allowance.
pub(crate) trait Limiter: fmt::Debug + Send + Sync {
    /// The name under which what was applied is recorded.
    fn name(&self) -> &'static str;

    /// Who bounds memory.
    fn bounds(&self) -> Bounds;

    /// A group for a run of this name, with this allowance.
    fn group(&self, name: &str, allowance: &Allowance) -> io::Result<Box<dyn Group>>;

    /// Removes the groups that a worker of this name has left, whose runs are gone.
    fn sweep(&self, scope: &str);
}

/// Who bounds the memory of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// The kernel: more is never had.
    Kernel,
    /// The worker, which looks and kills.
    Worker,
}

/// The processes of one run, as far as the kernel counts them together. Dropping it lets go of it.
pub(crate) trait Group: fmt::Debug + Send + Sync {
    /// The files in which a process enters itself.
    fn entrances(&self) -> Vec<PathBuf>;

    /// How many of its processes the kernel has killed for want of memory.
    fn oom_kills(&self) -> u64;

    /// The memory that the kernel counts as theirs, without what it only caches of files, in bytes.
    fn memory_bytes(&self) -> Option<u64>;
}

/// What a run took too much of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Breach {
    /// Memory; its limit in bytes.
    Memory(u64),
    /// Disk space: its limit, and how much of what it took was in files without a name, in bytes.
    Disk(u64, u64),
    /// Files and folders.
    Files,
    /// It closed a folder to the platform, which can't count what is in there. The folder, if it is in shared memory.
    Closed(Option<PathBuf>),
    /// Nothing of its own: it can't go on for a reason that the platform answers for.
    Platform(String),
}

/// What a group uses of memory, by the kernel's sum and its parts: shared memory is counted among the cache of files.
fn without_cache(usage: &Path, parts: &Path, cache: &str, shared: &str) -> Option<u64> {
    let usage = fs::read_to_string(usage).ok()?.trim().parse::<u64>().ok()?;
    let part = |key| procfs::number(parts, key).unwrap_or(0);
    Some(usage.saturating_sub(part(cache).saturating_sub(part(shared))))
}

/// The best of the drivers that this machine has. `scope` is the worker's name.
pub(crate) fn best(scope: &str) -> Box<dyn Limiter> {
    if let Some(limiter) = cgroup_v2::CgroupV2::find(scope) {
        return Box::new(limiter);
    }
    if let Some(limiter) = cgroup_v1::CgroupV1::find(scope) {
        return Box::new(limiter);
    }
    watchdog()
}

/// The driver that works everywhere.
pub(crate) fn watchdog() -> Box<dyn Limiter> {
    Box::new(watchdog::Watchdog)
}

/// The memory of this machine, or of the container that this is, in bytes.
pub(crate) fn machine_memory() -> u64 {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let container =
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].into_iter().filter_map(number);
    container.chain(total.map(|kib| kib * 1024)).min().unwrap_or(u64::MAX)
}

/// How many threads this process's user has, all its programs together.
pub(crate) fn threads_of_this_user() -> u64 {
    let uid = nix::unistd::geteuid().as_raw();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = processes.filter(|process| process.metadata().is_ok_and(|metadata| metadata.uid() == uid));
    own.map(|process| fs::read_dir(process.path().join("task")).map_or(0, |tasks| tasks.count() as u64)).sum()
}
