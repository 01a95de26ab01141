//! What a run may use, and who holds it to that.
//!
//! Memory and processes are the kernel's to bound where a control group can be had: `cgroup_v2` where a part of the
//! hierarchy is delegated to the worker, else `cgroup_v1` where that can be written. Else a `watchdog` looks, which is
//! soft: what is allocated between two looks is not denied. Disk space is looked at in any case.

mod cgroup_v1;
mod cgroup_v2;
mod disk;
mod largest;
mod limiter;
mod nameless;
mod reserve;
mod shared_memory;
mod watch;
mod watchdog;

use std::fs;
use std::os::unix::fs::MetadataExt;

pub(crate) use largest::{LargestFile, Measure, largest_file};
pub(crate) use limiter::{Allowance, Bounds, Breach, Group, Limiter, MAX_FILES};
pub(crate) use reserve::{Share, SharedDisk, Shortage};
pub(crate) use shared_memory::{SharedMemory, names_in_shared_memory, sweep, users_of_shared_memory};
pub(crate) use watch::LimitWatch;

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
