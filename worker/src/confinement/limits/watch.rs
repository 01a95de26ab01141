//! Watches a run, and tells when it takes too much.

use std::fs;
use std::iter::Sum;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::disk::{self, DiskUsage};
use super::nameless::{self, Nameless, Open};
use super::reserve::LOOK_NEARBY;
use super::{Allowance, Bounds, Breach, Group, MAX_FILES, Share, SharedMemory};
use crate::confinement::Confinement;
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::supervise::process::Process;
use crate::machine::process_snapshot::{Counter, ProcessSnapshot, TreeUsage};
use crate::machine::procfs;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often the disk is, at most.
const LOOK_AT_DISK: Duration = Duration::from_secs(1);
/// A walk may take this part of the time: the next comes not before so many times its own duration.
const WALK_SHARE: u32 = 20;
/// And this part where so much was written meanwhile that the run may have had too much of it.
const URGENT_SHARE: u32 = 3;
/// How long a run goes on whose disk can't be walked.
const UNWATCHED_LIMIT: Duration = Duration::from_mins(1);
/// Without a sign that much was written, the disk is walked so seldom.
const QUIET_WALK: Duration = Duration::from_secs(10);

/// What is watched.
#[derive(Debug)]
pub(crate) struct LimitWatch<'a> {
    /// The process id of the run's supervisor.
    supervisor: i32,
    allowance: Allowance,
    bounds: Bounds,
    group: &'a dyn Group,
    /// The folders that it may write.
    folders: Vec<PathBuf>,
    /// Where its shared memory lies, if it is not the kernel's to count.
    shared_memory: Option<&'a SharedMemory>,
    counter: &'a Counter,
    /// What the run has of the disk.
    share: Option<&'a Share>,
    /// What the run had open without a name when that was last counted.
    open: Mutex<Open>,
}

impl<'a> LimitWatch<'a> {
    /// Over the program that was just started in this confinement.
    pub(crate) fn of(
        confinement: &'a Confinement,
        process: &Process,
        directory: &'a RunDirectory,
        counter: &'a Counter,
    ) -> Self {
        Self {
            // It was not waited for, so it has one.
            supervisor: process.supervisor().unwrap_or(0),
            allowance: confinement.allowance,
            bounds: confinement.bounds,
            group: confinement.group.as_ref(),
            folders: directory.parts().to_vec(),
            shared_memory: confinement.shared_memory.as_ref(),
            counter,
            share: directory.share(),
            open: Mutex::default(),
        }
    }

    /// What the run uses of processors and processes, by a snapshot that is at most so old, and what memory it has.
    pub(crate) async fn usage(&self, at_most: Duration) -> (TreeUsage, u64) {
        let snapshot = self.counter.snapshot(at_most).await;
        let open = *self.open.lock().unwrap_or_else(PoisonError::into_inner);
        (snapshot.below(self.supervisor), self.memory_bytes(&snapshot, open).await)
    }

    /// Looks again and again, until too much was taken.
    pub(crate) async fn breach(&self) -> Breach {
        tokio::select! {
            breach = self.of_its_own() => breach,
            breach = self.of_the_reserve() => breach,
        }
    }

    /// Ends once the disk is nearly full and this run has grown most.
    async fn of_the_reserve(&self) -> Breach {
        let Some(share) = self.share else { return std::future::pending().await };
        let _watched = share.watched();
        loop {
            let shortage = share.shortage(&self.folders).await;
            let (folders, supervisor) = (self.folders.clone(), self.supervisor);
            let counted = spawn_blocking(move || {
                let paths: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
                let mut usage = disk::usage(&paths, MAX_FILES)?;
                let nameless = nameless::open(&ProcessSnapshot::take().tree(supervisor), device(&folders));
                usage.bytes = usage.bytes.saturating_add(nameless.disk);
                Ok::<_, rustix::io::Errno>((usage, nameless.disk))
            });
            // What can't be counted now was counted before.
            if let Ok(Ok((usage, nameless))) = counted.await {
                share.note(usage);
                if let Some(breach) = judge(&usage, nameless, &self.allowance) {
                    return breach;
                }
            }
            if let Some(why) = share.verdict(shortage) {
                return Breach::Platform(why);
            }
            sleep(LOOK_NEARBY).await;
        }
    }

    async fn of_its_own(&self) -> Breach {
        let mut disk = Disk::default();
        let mut nameless = Nameless::default();
        let device = device(&self.folders);
        loop {
            sleep(LOOK).await;
            let snapshot = self.counter.snapshot(LOOK / 2).await;
            let open = nameless.look(&snapshot.tree(self.supervisor), device).await;
            *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
            if let Some(breach) = self.memory(&snapshot, open).await {
                return breach;
            }
            if let Some(breach) = disk.look(self, open).await {
                return breach;
            }
        }
    }

    async fn memory(&self, snapshot: &ProcessSnapshot, open: Open) -> Option<Breach> {
        let limit = self.allowance.memory_bytes;
        if self.group.oom_kills() > 0 {
            return Some(Breach::Memory(limit));
        }
        if self.bounds == Bounds::Kernel {
            return None;
        }
        // What is in there is memory that nobody counts.
        if let Some(folder) = self.shared_memory.and_then(SharedMemory::closed) {
            return Some(Breach::Closed(Some(folder)));
        }
        let pids = snapshot.tree(self.supervisor);
        let shared = self.shared_memory.map_or(0, |shared| shared.bytes(&pids, open));
        let resident = snapshot.below(self.supervisor).resident_bytes;
        if resident.saturating_add(shared) <= limit {
            return None;
        }
        // What processes share was counted for each, and what they have mapped of shared memory once more. Counted once it
        // may be within the limit.
        (self.memory_bytes(snapshot, open).await > limit).then_some(Breach::Memory(limit))
    }

    /// The memory that the run has, with each part counted once: as the kernel counts it, else by the proportional
    /// share of each process and the files in shared memory.
    async fn memory_bytes(&self, snapshot: &ProcessSnapshot, open: Open) -> u64 {
        if let Some(counted) = self.group.memory_bytes() {
            return counted;
        }
        let pids = snapshot.tree(self.supervisor);
        let shared = self.shared_memory.map_or(0, |shared| shared.bytes(&pids, open));
        // The first is the supervisor, which is not the run's.
        let sum = move || pids.into_iter().skip(1).map(Proportional::of).sum::<Proportional>();
        let Proportional { own, mapped } = spawn_blocking(sum).await.unwrap_or_default();
        own.saturating_add(mapped.max(shared))
    }
}

/// How the disk was when it was last walked.
#[derive(Debug, Default)]
struct Disk {
    next_look: Option<Instant>,
    walked: Option<(Instant, Duration, Free, DiskUsage)>,
    /// Since when walks have failed for a reason of the platform's own.
    unwatched_since: Option<Instant>,
}

/// What is free of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Free {
    bytes: u64,
    entries: u64,
}

impl Disk {
    async fn look(&mut self, watch: &LimitWatch<'_>, open: Open) -> Option<Breach> {
        let now = Instant::now();
        if open.disk > watch.allowance.disk_bytes {
            return Some(Breach::Disk(watch.allowance.disk_bytes, open.disk));
        }
        if self.next_look.is_some_and(|next| now < next) {
            return None;
        }
        self.next_look = Some(now + LOOK_AT_DISK);
        let free = free(watch.folders.first()?)?;
        if let Some((at, took, then, usage)) = self.walked {
            let allowed = watch.allowance.disk_bytes;
            let (bytes, entries) = (then.bytes.saturating_sub(free.bytes), then.entries.saturating_sub(free.entries));
            let urgent =
                usage.bytes.saturating_add(bytes) > allowed || usage.entries.saturating_add(entries) > MAX_FILES;
            let rested = at.elapsed() >= took * if urgent { URGENT_SHARE } else { WALK_SHARE };
            let little = bytes < allowed / 8 && entries < MAX_FILES / 8;
            if !rested || (little && at.elapsed() < QUIET_WALK) {
                return None;
            }
        }
        let folders = watch.folders.clone();
        let walk = spawn_blocking(move || {
            let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
            disk::usage(&folders, MAX_FILES)
        });
        let mut usage = match walk.await.map_err(|error| error.to_string()).and_then(|walked| walked.map_err(told)) {
            Ok(usage) => usage,
            Err(error) => return self.unwatched(now, &error),
        };
        self.unwatched_since = None;
        usage.bytes = usage.bytes.saturating_add(open.disk);
        self.walked = Some((Instant::now(), now.elapsed(), free, usage));
        if let Some(share) = watch.share {
            share.note(usage);
        }
        judge(&usage, open.disk, &watch.allowance)
    }

    /// A run goes on for a while although nobody can tell what it has on disk.
    fn unwatched(&mut self, now: Instant, error: &str) -> Option<Breach> {
        let since = *self.unwatched_since.get_or_insert(now);
        tracing::warn!(error, "the disk usage of a run can't be measured");
        let why = || format!("its worker could not count what it has on disk for {UNWATCHED_LIMIT:?}: {error}");
        (since.elapsed() >= UNWATCHED_LIMIT).then(|| Breach::Platform(why()))
    }
}

/// `usage` counts the files without a name too; they alone take `nameless` bytes.
fn judge(usage: &DiskUsage, nameless: u64, allowance: &Allowance) -> Option<Breach> {
    if usage.bytes > allowance.disk_bytes {
        return Some(Breach::Disk(allowance.disk_bytes, nameless));
    }
    if usage.entries > MAX_FILES {
        return Some(Breach::Files);
    }
    (usage.closed > 0).then_some(Breach::Closed(None))
}

/// The disk under these folders.
fn device(folders: &[PathBuf]) -> Option<u64> {
    folders.first().and_then(|folder| Some(fs::metadata(folder).ok()?.dev()))
}

fn told(error: rustix::io::Errno) -> String {
    error.to_string()
}

fn free(folder: &Path) -> Option<Free> {
    let space = statvfs(folder).ok()?;
    Some(Free { bytes: space.blocks_free() * space.fragment_size(), entries: space.files_free() })
}

/// Resident memory, of which what is shared with others counts in part, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Proportional {
    /// Without what is mapped of shared memory.
    own: u64,
    /// What is.
    mapped: u64,
}

impl Proportional {
    /// That of a process; all of its resident memory where its parts are not told.
    fn of(pid: i32) -> Self {
        let process = procfs::living(pid);
        let read = |file, key| procfs::number(&process.join(file), key).map(|kib| kib * 1024);
        let mapped = read("smaps_rollup", "Pss_Shmem:").unwrap_or(0);
        let all = read("smaps_rollup", "Pss:").or_else(|| read("status", "VmRSS:")).unwrap_or(0);
        Self { own: all.saturating_sub(mapped), mapped }
    }
}

impl Sum for Proportional {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self { own: sum.own + one.own, mapped: sum.mapped + one.mapped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_too_much_is_told() {
        let allowance = Allowance { memory_bytes: 0, processes: 0, disk_bytes: 1_000 };
        let used = |bytes, entries, closed| judge(&DiskUsage { bytes, entries, closed }, 7, &allowance);
        assert_eq!(used(1_000, MAX_FILES, 0), None);
        assert_eq!(used(1_001, 0, 0), Some(Breach::Disk(1_000, 7)));
        assert_eq!(used(0, MAX_FILES + 1, 0), Some(Breach::Files));
        assert_eq!(used(0, 0, 1), Some(Breach::Closed(None)));
    }
}
