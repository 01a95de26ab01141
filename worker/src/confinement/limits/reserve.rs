//! The part of the disk that stays free for Redis and the platform: before it is used up, the run that grows most is
//! ended.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytesize::ByteSize;
use events::ports::{DiskReserve, Room};
use nix::sys::statvfs::statvfs;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::MAX_FILES;
use super::disk::{self, DiskUsage};

/// How often is looked how much is free: seldom, and often where little is left beyond the reserve.
const LOOK: Duration = Duration::from_millis(100);
pub(crate) const LOOK_NEARBY: Duration = Duration::from_millis(20);
/// So many times the reserve is little.
const NEARBY: u64 = 4;
/// A run that has grown by less than this part of the reserve is not what fills the disk.
const LEAST_PART: u64 = 16;
/// How long a run waits until all others have been counted as well, before it is taken to have grown most.
const COUNT_PATIENCE: Duration = Duration::from_secs(1);
/// How long after one run was ended its files may take to go, before another is ended too.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// With less free than this the disk is full, whatever the reserve is, in bytes.
const FULL: u64 = 1 << 20;
/// How long a run that is to begin waits for room.
const BEGIN_PATIENCE: Duration = Duration::from_secs(30);

/// The disk that the runs of a worker share.
#[derive(Debug)]
pub(crate) struct SharedDisk {
    reserve: DiskReserve,
    runs: Mutex<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    next: u64,
    all: BTreeMap<u64, Seen>,
    /// Since when too little has been free.
    short_since: Option<Instant>,
    last_short: Option<Instant>,
}

/// What is known of a run.
#[derive(Debug, Default)]
struct Seen {
    first: DiskUsage,
    last: DiskUsage,
    counted: Option<Instant>,
    /// Whether it can be ended.
    is_watched: bool,
    ended: Option<Instant>,
}

/// What a run has on the disk, until its directory is removed.
#[derive(Debug)]
pub(crate) struct Share {
    disk: Arc<SharedDisk>,
    number: u64,
}

/// Which resource of the disk is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Bytes: the free ones, and the reserve.
    Bytes(u64, u64),
    /// Files and folders: the free ones, and the reserve.
    Files(u64, u64),
    /// Bytes or files, with no reserve: the free bytes, and the free files.
    All(u64, u64),
}

/// What was seen of the disk.
struct Look {
    /// When to look again.
    again: Duration,
    /// Less is free than the reserve.
    shortage: Option<Shortage>,
    /// Nothing is free.
    full: Option<Shortage>,
}

impl SharedDisk {
    pub(crate) fn new(reserve: DiskReserve) -> Arc<Self> {
        Arc::new(Self { reserve, runs: Mutex::default() })
    }

    /// The share of a run that begins in these folders.
    pub(crate) async fn join(self: &Arc<Self>, folders: Vec<PathBuf>) -> Share {
        let count = move || disk::usage(&folders.iter().map(PathBuf::as_path).collect::<Vec<_>>(), MAX_FILES);
        // What can't be counted now counts as the run's own.
        let first = spawn_blocking(count).await.ok().and_then(Result::ok).unwrap_or_default();
        self.enter(first)
    }

    fn enter(self: &Arc<Self>, first: DiskUsage) -> Share {
        let mut runs = self.runs();
        let number = runs.next;
        runs.next += 1;
        runs.all.insert(number, Seen { first, last: first, ..Seen::default() });
        Share { disk: Arc::clone(self), number }
    }

    /// Whether the disk under this folder has less free than the reserve, or is full.
    pub(crate) fn shortage(&self, folder: &Path) -> Option<Shortage> {
        let Look { shortage, full, .. } = self.look(folder);
        shortage.or(full)
    }

    /// Waits for room for a run in this folder, for at most half a minute; tells what it waits for.
    ///
    /// # Errors
    /// If there is none by then.
    pub(crate) async fn room(&self, folder: &Path, tell: impl Fn(Option<Shortage>)) -> Result<(), Shortage> {
        let deadline = Instant::now() + BEGIN_PATIENCE;
        let mut waited = false;
        while let Some(shortage) = self.shortage(folder) {
            if Instant::now() > deadline {
                return Err(shortage);
            }
            waited = true;
            tell(Some(shortage));
            sleep(LOOK).await;
        }
        if waited {
            tell(None);
        }
        Ok(())
    }

    /// Whether too little was free at any moment within the last so long, as far as was seen.
    pub(crate) fn was_short_within(&self, last: Duration) -> bool {
        self.runs().last_short.is_some_and(|at| at.elapsed() <= last)
    }

    /// Looks, and says when to look again.
    fn look(&self, folder: &Path) -> Look {
        // A disk that can't be asked is told by whoever writes to it.
        let Ok(space) = statvfs(folder) else { return Look { again: LOOK, shortage: None, full: None } };
        let unit = space.fragment_size();
        let room = Room {
            free_bytes: space.blocks_available().saturating_mul(unit),
            total_bytes: space.blocks().saturating_mul(unit),
        };
        let reserve = self.reserve.bytes_of(&room);
        let files = self.reserve.files_of(space.files());
        let shortage = if room.free_bytes < reserve {
            Some(Shortage::Bytes(room.free_bytes, reserve))
        } else {
            (space.files_available() < files).then(|| Shortage::Files(space.files_available(), files))
        };
        let (bytes_free, files_free) = (room.free_bytes, space.files_available());
        let is_full = bytes_free < FULL || (space.files() > 0 && files_free == 0);
        let full = is_full.then_some(Shortage::All(bytes_free, files_free));
        self.runs().note(shortage, full);
        let is_nearby = bytes_free / NEARBY < reserve.max(64 * FULL) || files_free / NEARBY < files;
        Look { again: if is_nearby { LOOK_NEARBY } else { LOOK }, shortage, full }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    fn note(&mut self, shortage: Option<Shortage>, full: Option<Shortage>) {
        let now = Instant::now();
        if shortage.or(full).is_some() {
            self.last_short = Some(now);
        }
        if shortage.is_some() {
            self.short_since.get_or_insert(now);
        } else {
            self.short_since = None;
        }
    }

    /// By how much this run has grown, if it has grown most of all and is to be ended now.
    fn most(&self, number: u64, shortage: Shortage) -> Option<u64> {
        let growth = |seen: &Seen| seen.growth(shortage);
        let own = growth(self.all.get(&number)?);
        let still_goes = |seen: &Seen| seen.ended.is_some_and(|at| at.elapsed() < ROOM_PATIENCE);
        if own < shortage.reserve() / LEAST_PART || self.all.values().any(still_goes) {
            return None;
        }
        let since = self.short_since?;
        let mut others = self.all.iter().filter(|(other, seen)| **other != number && seen.is_watched);
        let is_beaten = others.clone().any(|(other, seen)| (growth(seen), *other) > (own, number));
        let all_counted = others.all(|(_, seen)| seen.counted.is_some_and(|at| at >= since));
        (!is_beaten && (all_counted || since.elapsed() >= COUNT_PATIENCE)).then_some(own)
    }
}

impl Seen {
    fn growth(&self, shortage: Shortage) -> u64 {
        match shortage {
            Shortage::Bytes(..) | Shortage::All(..) => self.last.bytes.saturating_sub(self.first.bytes),
            Shortage::Files(..) => self.last.entries.saturating_sub(self.first.entries),
        }
    }
}

impl Share {
    /// Notes what the run has on disk.
    pub(crate) fn note(&self, usage: DiskUsage) {
        if let Some(seen) = self.disk.runs().all.get_mut(&self.number) {
            seen.last = usage;
            seen.counted = Some(Instant::now());
        }
    }

    /// Waits until too little is free of the disk under these folders.
    pub(crate) async fn shortage(&self, folders: &[PathBuf]) -> Shortage {
        loop {
            let Some(folder) = folders.first() else { return std::future::pending().await };
            let Look { again, shortage, .. } = self.disk.look(folder);
            if let Some(shortage) = shortage {
                return shortage;
            }
            sleep(again).await;
        }
    }

    /// Why this run is to be ended, if it is the one.
    pub(crate) fn verdict(&self, shortage: Shortage) -> Option<String> {
        let mut runs = self.disk.runs();
        let growth = runs.most(self.number, shortage)?;
        runs.all.get_mut(&self.number)?.ended = Some(Instant::now());
        let growth = match shortage {
            Shortage::Bytes(..) | Shortage::All(..) => ByteSize(growth).to_string(),
            Shortage::Files(..) => format!("{growth} files and folders"),
        };
        Some(format!("the run was ended because {shortage}, and it had grown most, by {growth}"))
    }

    /// Counts among the runs that can be ended, until that is dropped.
    pub(crate) fn watched(&self) -> Watched<'_> {
        self.set_watched(true);
        Watched(self)
    }

    fn set_watched(&self, is_watched: bool) {
        if let Some(seen) = self.disk.runs().all.get_mut(&self.number) {
            seen.is_watched = is_watched;
        }
    }
}

/// A run that can be ended.
pub(crate) struct Watched<'a>(&'a Share);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.set_watched(false);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.disk.runs().all.remove(&self.number);
    }
}

impl Shortage {
    const fn reserve(self) -> u64 {
        match self {
            Self::Bytes(_, reserve) | Self::Files(_, reserve) => reserve,
            Self::All(..) => FULL,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(free, reserve) => {
                let (free, reserve) = (ByteSize(*free), ByteSize(*reserve));
                write!(f, "the worker's disk had {free} free, and {reserve} must stay free (DISK_RESERVE)")
            }
            Self::Files(free, reserve) => {
                write!(f, "the worker's disk had room for {free} more files, and for {reserve} it must keep room")
            }
            Self::All(bytes, files) => {
                write!(f, "the worker's disk was full: it had {} and {files} files free", ByteSize(*bytes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Shortage = Shortage::Bytes(10, 1_600);

    fn disk() -> Arc<SharedDisk> {
        let disk = SharedDisk::new(DiskReserve::default());
        disk.runs().note(Some(SHORT), None);
        disk
    }

    fn used(bytes: u64) -> DiskUsage {
        DiskUsage { bytes, entries: 1, closed: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn the_run_that_grew_most_is_ended_and_no_other_until_its_files_are_gone() {
        let disk = disk();
        let (large, growing) = (disk.enter(used(50_000)), disk.enter(used(0)));
        large.set_watched(true);
        growing.set_watched(true);
        large.note(used(50_200));
        growing.note(used(9_000));
        assert_eq!(large.verdict(SHORT), None);
        let why = growing.verdict(SHORT).unwrap();
        assert!(why.contains("DISK_RESERVE") && why.contains("had grown most"), "{why}");
        assert_eq!(large.verdict(SHORT), None, "there may be room in a moment");
        drop(growing);
        assert!(large.verdict(SHORT).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_was_not_counted_yet_is_waited_for_and_a_small_one_is_let_be() {
        let disk = disk();
        let (one, other) = (disk.enter(used(0)), disk.enter(used(0)));
        one.set_watched(true);
        other.set_watched(true);
        one.note(used(5_000));
        assert_eq!(one.verdict(SHORT), None, "the other may have grown more");
        tokio::time::advance(COUNT_PATIENCE).await;
        assert!(one.verdict(SHORT).is_some());
        drop(one);
        other.note(used(99));
        assert_eq!(other.verdict(SHORT), None, "its end would give no room");
    }
}
