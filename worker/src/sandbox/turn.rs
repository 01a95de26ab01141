//! Whose turn it is to run a job on this machine, where all jobs are the worker's own user without namespaces.
//!
//! Such jobs could read and change each other's shared memory, and signal each other. So one runs at a time: the workers
//! of a user pass a lock on, in a folder that no job can reach. The file holds who has the turn and what the user had in
//! shared memory before. It is empty after a turn that ended in order; else the next holder clears up first.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use crate::file_lock::try_lock;
use crate::leftovers::kill_marked;
use crate::limits::{names_in_shared_memory, sweep};

/// How often a worker that waits looks whether the turn is free.
const POLL: Duration = Duration::from_millis(20);
/// How long a worker leaves the turn to others after its own.
const GAP: Duration = Duration::from_millis(60);
/// How long it waits after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// The turns of one worker.
#[derive(Debug)]
pub(crate) struct Turns {
    file: PathBuf,
    worker: String,
    ended: Mutex<Option<Instant>>,
    /// Whether something of the present job may be left when the turn ends.
    left: AtomicBool,
}

/// This worker's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    lock: Flock<File>,
    turns: Arc<Turns>,
}

impl Turns {
    /// Those of this worker among all that share this folder.
    pub(super) fn new(machine_folder: &Path, worker: &str) -> Arc<Self> {
        let file = machine_folder.join("turn");
        Arc::new(Self { file, worker: worker.to_owned(), ended: Mutex::default(), left: AtomicBool::default() })
    }

    /// Waits for the next one.
    pub(super) async fn next(self: &Arc<Self>) -> Turn {
        let ended = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = ended {
            sleep_until(ended + GAP).await;
        }
        loop {
            match self.take().await {
                Ok(Some(turn)) => return turn,
                Ok(None) => sleep(POLL).await,
                Err(error) => {
                    let file = self.file.display();
                    tracing::warn!(%error, %file, "no job can be claimed: the turn of this user's workers can't be taken");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Has the next turn begin with a search for what this one's job left.
    pub(super) fn leave_something(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    async fn take(self: &Arc<Self>) -> io::Result<Option<Turn>> {
        let Some(mut lock) = try_lock(&self.file, FlockArg::LockExclusiveNonblock)? else { return Ok(None) };
        let mut record = Vec::new();
        lock.read_to_end(&mut record)?;
        if !record.is_empty() {
            clear_up(&record).await?;
        }
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
        if !self.turns.left.load(Ordering::Relaxed) {
            // Where that fails the next turn begins with a search that finds nothing.
            let _ = self.lock.set_len(0);
        }
        *self.turns.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
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
    tracing::info!(worker, "clearing up after a job whose worker ended before it");
    let survivors = kill_marked(&format!("{worker}/")).await;
    if !survivors.is_empty() {
        return Err(io::Error::other(format!("processes of an earlier job do not die: {survivors:?}")));
    }
    spawn_blocking(move || sweep(geteuid().as_raw(), &before)).await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_worker_at_a_time_has_the_turn_and_none_waits_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Turns::new(folder.path(), "w-1"), Turns::new(folder.path(), "w-2"));
        let held = one.next().await;
        assert!(other.take().await.unwrap().is_none());
        // Whoever had it last leaves it to the one that waits.
        let waiting = tokio::spawn(async move { other.next().await });
        tokio::task::yield_now().await;
        drop(held);
        let (again, waited) = tokio::join!(one.next(), async {
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
        drop(Turns::new(folder.path(), "w-1").next().await);
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
