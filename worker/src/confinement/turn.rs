//! Whose turn it is to run a job on this machine, where all jobs are the worker's own user without namespaces.
//!
//! Such jobs could read and change each other's shared memory, and signal each other. So one runs at a time: the
//! workers of a user pass a lock on, in a folder that no job can reach. The file holds who has the turn and what the
//! user had in shared memory before. It is empty after a turn that ended in order; else the next holder clears up
//! first.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use crate::confinement::limits::{names_in_shared_memory, sweep};
use crate::machine::file_lock::try_lock;
use crate::machine::folder::set_own_mode;
use crate::recovery::leftovers::kill_marked;

/// How often a worker that waits looks whether the turn is free.
const POLL: Duration = Duration::from_millis(20);
/// How long a worker leaves the turn to others after its own.
const GAP: Duration = Duration::from_millis(60);
/// How long it waits after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// How many errors in a row it takes to tell of them.
const TOLERATED: u32 = 2;

/// The turns of one worker.
#[derive(Debug)]
pub(crate) struct Turns {
    file: PathBuf,
    work_root: PathBuf,
    worker: String,
    ended: Mutex<Option<Instant>>,
    /// Whether something of the present job may be left when the turn ends.
    left: AtomicBool,
    /// The folders whose mode a job could change, with the mode each had when the turn began.
    modes: Mutex<Vec<(PathBuf, u32)>>,
}

/// This worker's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    lock: Flock<File>,
    turns: Arc<Turns>,
}

impl Turns {
    /// Those of this worker among all that share this folder.
    pub(crate) fn new(machine_folder: &Path, work_root: &Path, worker: &str) -> Arc<Self> {
        Arc::new(Self {
            file: machine_folder.join("turn"),
            work_root: std::path::absolute(work_root).unwrap_or_else(|_| work_root.to_owned()),
            worker: worker.to_owned(),
            ended: Mutex::default(),
            left: AtomicBool::default(),
            modes: Mutex::default(),
        })
    }

    /// Waits for the next one. Tells why it can't be taken if that fails again and again, and `None` once it was taken.
    pub(crate) async fn next(self: &Arc<Self>, tell: impl Fn(Option<String>)) -> Turn {
        let ended = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = ended {
            sleep_until(ended + GAP).await;
        }
        let mut failures = 0;
        loop {
            match self.take().await {
                Ok(turn) => {
                    if failures >= TOLERATED {
                        tell(None);
                    }
                    failures = 0;
                    match turn {
                        Some(turn) => return turn,
                        None => sleep(POLL).await,
                    }
                }
                Err(error) => {
                    let file = self.file.display();
                    tracing::warn!(%error, %file, "no job can be claimed: the turn of this user's workers can't be taken");
                    failures += 1;
                    if failures >= TOLERATED {
                        tell(Some(format!(
                            "the lock {file}, which this user's workers share, can't be taken: {error}"
                        )));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Has the next turn begin with a search for what this one's job left.
    pub(crate) fn leave_something(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Gives the folders around the jobs of this worker the modes that they had before its present job.
    pub(crate) fn restore_modes(&self) {
        let modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        let locks = [(self.file.parent(), 0o700), (Some(self.file.as_path()), 0o600)];
        let locks = locks.into_iter().filter_map(|(path, mode)| Some((path?, mode)));
        for (path, mode) in modes.iter().map(|(path, mode)| (path.as_path(), *mode)).chain(locks) {
            if let Err(error) = set_own_mode(path, |_| mode) {
                tracing::warn!(%error, path = %path.display(), "the mode of a folder of this worker can't be restored");
            }
        }
    }

    async fn take(self: &Arc<Self>) -> io::Result<Option<Turn>> {
        let Some(mut lock) = try_lock(&self.file, FlockArg::LockExclusiveNonblock)? else { return Ok(None) };
        let mut record = Vec::new();
        lock.read_to_end(&mut record)?;
        if !record.is_empty() {
            clear_up(&record).await?;
            self.restore_modes();
        }
        *self.modes.lock().unwrap_or_else(PoisonError::into_inner) = own_modes(&self.work_root);
        let record = record_of(&self.worker, &names_in_shared_memory(geteuid().as_raw()));
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(&record)?;
        self.left.store(false, Ordering::Relaxed);
        Ok(Some(Turn { lock, turns: Arc::clone(self) }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.restore_modes();
        if !self.turns.left.load(Ordering::Relaxed) {
            // Where that fails the next turn begins with a search that finds nothing.
            let _ = self.lock.set_len(0);
        }
        *self.turns.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// The folders of this user on the way to a path, itself included, from the top, with their modes.
fn own_modes(path: &Path) -> Vec<(PathBuf, u32)> {
    let user = geteuid().as_raw();
    let way: Vec<&Path> = path.ancestors().collect();
    let found = way.into_iter().rev().filter_map(|folder| {
        let found = std::fs::symlink_metadata(folder).ok()?;
        (found.is_dir() && found.uid() == user).then(|| (folder.to_owned(), found.mode() & 0o7777))
    });
    found.collect()
}

fn record_of(worker: &str, names: &BTreeSet<OsString>) -> Vec<u8> {
    let fields = std::iter::once(worker.as_bytes()).chain(names.iter().map(|name| name.as_bytes()));
    fields.flat_map(|field| field.iter().copied().chain([0])).collect()
}

/// The worker of a record, and what its user had in shared memory before.
fn parse(record: &[u8]) -> (String, BTreeSet<OsString>) {
    let mut fields = record.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let worker = String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
    (worker, fields.map(|name| OsString::from_vec(name.to_vec())).collect())
}

/// Removes what the job of a turn left that did not end in order.
async fn clear_up(record: &[u8]) -> io::Result<()> {
    let (worker, before) = parse(record);
    tracing::info!(worker, "cleaning up a job that outlived its worker");
    let survivors = kill_marked(&format!("{worker}/")).await;
    if !survivors.is_empty() {
        return Err(io::Error::other(format!("processes of an earlier job do not die: {survivors:?}")));
    }
    spawn_blocking(move || sweep(geteuid().as_raw(), &before)).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn turns(folder: &Path, worker: &str) -> Arc<Turns> {
        Turns::new(folder, &folder.join("work"), worker)
    }

    fn quiet(why: Option<String>) {
        assert_eq!(why, None);
    }

    fn close(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn what_a_job_closes_is_open_again_after_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let [locks, data] = ["locks", "data"].map(|name| folder.path().join(name));
        let (work, file) = (data.join("work"), locks.join("turn"));
        std::fs::create_dir_all(&work).unwrap();
        std::fs::create_dir(&locks).unwrap();
        close(&data, 0o750);
        let turns = Turns::new(&locks, &work, "w-1");
        for mode in [0, 0o701, 0o777] {
            let turn = turns.next(quiet).await;
            for path in [&work, &data, &file, &locks] {
                close(path, mode);
            }
            drop(turn);
            let modes = [&work, &data, &locks, &file].map(|path| metadata(path).unwrap().mode() & 0o7777);
            assert_eq!(modes[1..], [0o750, 0o700, 0o600], "{mode:o}");
            assert_ne!(modes[0] & 0o777, mode & 0o777);
        }
        // A worker that was killed could not put them back.
        for path in [&file, &locks] {
            close(path, 0);
        }
        drop(turns.next(quiet).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_can_not_be_taken_is_told_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("turn");
        std::fs::create_dir(&file).unwrap();
        let told = Mutex::new(vec![]);
        let turns = turns(folder.path(), "w-1");
        let turn = turns.next(|why| {
            let is_trouble = why.is_some();
            told.lock().unwrap().push(why);
            if is_trouble {
                std::fs::remove_dir(&file).unwrap();
            }
        });
        drop(turn.await);
        let told = told.into_inner().unwrap();
        assert!(told[0].as_ref().is_some_and(|why| why.contains("/turn")), "{told:?}");
        assert_eq!(told[1..], [None]);
    }

    #[tokio::test]
    async fn one_worker_at_a_time_has_the_turn_and_none_waits_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (turns(folder.path(), "w-1"), turns(folder.path(), "w-2"));
        let held = one.next(quiet).await;
        assert!(other.take().await.unwrap().is_none());
        // Whoever had it last leaves it to the one that waits.
        let waiting = tokio::spawn(async move { other.next(quiet).await });
        tokio::task::yield_now().await;
        drop(held);
        let (again, waited) = tokio::join!(one.next(quiet), async {
            let turn = waiting.await.unwrap();
            assert_eq!(parse(&std::fs::read(folder.path().join("turn")).unwrap()).0, "w-2");
            drop(turn);
        });
        let ((), turn) = (waited, again);
        drop(turn);
        assert_eq!(std::fs::read(folder.path().join("turn")).unwrap(), b"");
    }

    #[tokio::test]
    async fn what_a_turn_without_an_end_left_is_swept_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Path::new("/dev/shm").join(format!("leadersboard-turn-{name}-{}", std::process::id()));
        // What others of this user have there meanwhile is used, or is this test's to leave alone.
        let mut before = names_in_shared_memory(geteuid().as_raw());
        std::fs::write(path("before"), "").unwrap();
        before.insert(path("before").file_name().unwrap().to_owned());
        std::fs::write(folder.path().join("turn"), record_of("w-dead", &before)).unwrap();
        std::fs::write(path("left"), "").unwrap();
        drop(turns(folder.path(), "w-1").next(quiet).await);
        assert!(!path("left").exists() && path("before").exists());
        std::fs::remove_file(path("before")).unwrap();
    }

    #[test]
    fn a_record_holds_names_of_any_bytes() {
        let names: BTreeSet<OsString> =
            [&b"a\nb"[..], b"\xff\xfe"].map(|name| OsString::from_vec(name.to_vec())).into();
        assert_eq!(parse(&record_of("w-1", &names)), ("w-1".to_owned(), names));
        assert_eq!(parse(&record_of("w-1", &BTreeSet::new())), ("w-1".to_owned(), BTreeSet::new()));
    }
}
