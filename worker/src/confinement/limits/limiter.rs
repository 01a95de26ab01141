//! What holds runs to their allowance, whichever driver does it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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
pub(super) fn without_cache(usage: &Path, parts: &Path, cache: &str, shared: &str) -> Option<u64> {
    let usage = fs::read_to_string(usage).ok()?.trim().parse::<u64>().ok()?;
    let part = |key| procfs::number(parts, key).unwrap_or(0);
    Some(usage.saturating_sub(part(cache).saturating_sub(part(shared))))
}
