//! Whether this worker can set jobs up. One that can't claims nothing, says why, and tests itself until it can again.
//!
//! A failure before a job's program runs may be the worker's fault or the job's. So each is followed by a test that has
//! nothing to do with the job: a directory is made in the work root, filled and removed, and a program is started as
//! jobs are. A worker that fails it is unfit at once, and the job pays nothing if another worker can take it. A worker
//! that passes it and fails to set jobs up nevertheless, twice in a row, pauses too; those failures count. A worker whose
//! disk has less free than the reserve is unfit before any job fails.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::{ClassName, JobId, LossCause};
use metrics::gauge;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::confinement::Probe;
use crate::job::start::Run;
use crate::packages::Environments;
use crate::recovery::crash_recovery::clear_leftovers;
use crate::recovery::worker_directory::Station;
use crate::session::Session;

/// How many jobs in a row a worker may fail to set up before it pauses.
const MOST_FAILURES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a job that failed here is left to other workers.
const LEFT_TO_OTHERS: Duration = Duration::from_mins(1);
/// What the test writes, in bytes.
const WRITTEN: usize = 1 << 20;

/// Whether a worker can set jobs up, and since when not.
#[derive(Debug)]
pub struct Fitness {
    state: watch::Sender<State>,
    /// One test at a time.
    testing: tokio::sync::Mutex<()>,
    failed: Mutex<HashMap<JobId, Instant>>,
    /// The station in the place of one that was removed from under the worker.
    restored: Mutex<Option<Station>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    failures_in_a_row: u32,
    unfit: Option<String>,
    /// Why it waits for its turn in vain, which no test of its own can find out.
    hindered: Option<String>,
}

impl Default for Fitness {
    fn default() -> Self {
        gauge!("leadersboard_worker_fit").set(1);
        Self {
            state: watch::Sender::default(),
            testing: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            restored: Mutex::default(),
        }
    }
}

impl Fitness {
    /// Why the worker takes no jobs; none if it takes some.
    #[must_use]
    pub fn unfit(&self) -> Option<String> {
        let state = self.state.borrow();
        state.unfit.as_ref().or(state.hindered.as_ref()).cloned()
    }

    /// Notes why the worker can't begin any job, although its own tests may pass; `None` once it can.
    pub(crate) fn hinder(&self, why: Option<String>) {
        self.change(|state| state.hindered = why);
    }

    /// Returns as soon as the worker passes its own tests.
    pub(crate) async fn fit(&self) {
        // The sender lives as long as this.
        let _ = self.state.subscribe().wait_for(|state| state.unfit.is_none()).await;
    }

    /// Returns when this changes.
    pub(crate) async fn changed(&self) {
        let _ = self.state.subscribe().changed().await;
    }

    /// Notes that a job was set up: its program ran.
    pub(crate) fn succeeded(&self, job: JobId) {
        self.failed().remove(&job);
        self.state.send_if_modified(|state| std::mem::take(&mut state.failures_in_a_row) > 0);
    }

    /// Whether a job failed here a short while ago.
    pub(crate) fn failed_here(&self, job: JobId) -> bool {
        self.failed().get(&job).is_some_and(|at| at.elapsed() < LEFT_TO_OTHERS)
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_failure(&self, job: JobId, stage: Failed) -> u32 {
        let mut failed = self.failed();
        failed.retain(|_, at| at.elapsed() < LEFT_TO_OTHERS);
        failed.insert(job, Instant::now());
        if stage == Failed::SettingUp {
            self.state.send_modify(|state| state.failures_in_a_row += 1);
        }
        self.state.borrow().failures_in_a_row
    }

    fn set(&self, unfit: Option<String>) {
        self.change(|state| state.unfit = unfit);
    }

    /// Changes the state, and says if the worker takes jobs no more, or again.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let before = self.unfit();
        self.state.send_modify(change);
        let after = self.unfit();
        if before == after {
            return;
        }
        if let Some(why) = &after {
            tracing::error!(why, "this worker can't set up jobs; it takes none until it can");
        } else {
            tracing::info!("this worker takes jobs again");
        }
        gauge!("leadersboard_worker_fit").set(u32::from(after.is_none()));
    }
}

/// How far a run was when the platform failed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Its program had not begun.
    SettingUp,
    /// Its program had run: one that fills the disk again and again says nothing of how jobs are set up here.
    LaterOn,
}

/// Judges a failure of the platform that befell a run here: what it is to the job.
pub(crate) async fn judge_failure(session: &Session, run: &Run, stage: Failed, why: &str) -> LossCause {
    let fitness = &session.fitness;
    let failures = fitness.note_failure(run.job.id, stage);
    let tested = test(session).await;
    if fitness.unfit().is_none() {
        match &tested {
            Err(problem) => fitness.set(Some(problem.clone())),
            Ok(()) if stage == Failed::SettingUp && failures >= MOST_FAILURES => {
                fitness.set(Some(format!("{failures} jobs in a row failed: {why}")));
            }
            Ok(()) => {}
        }
    }
    if tested.is_err() && others_take(session, &run.job.spec.class).await {
        LossCause::WorkerUnfit
    } else {
        LossCause::Infrastructure
    }
}

/// Whether another worker takes jobs of this class, as far as is known.
pub(crate) async fn others_take(session: &Session, class: &ClassName) -> bool {
    let workers = session.ports.workers.workers(std::slice::from_ref(class)).await.unwrap_or_default();
    let own = &session.config.consumer;
    workers.iter().filter_map(|seen| seen.presence.as_ref()).any(|told| told.worker != *own && told.takes(class))
}

/// Tests an unfit worker with longer and longer pauses, and has it take jobs again. Runs until it is aborted.
pub(crate) async fn run(session: Arc<Session>) {
    let fitness = &session.fitness;
    let mut pause = FIRST_PAUSE;
    let mut before = 0;
    let mut state = fitness.state.subscribe();
    loop {
        // The sender lives as long as the session.
        let failures = state.wait_for(|state| state.unfit.is_some()).await.map_or(0, |state| state.failures_in_a_row);
        // A job that was set up since the last pause begins a new row.
        if failures <= before {
            (pause, before) = (FIRST_PAUSE, 0);
        }
        sleep(pause.mul_f64(session.ports.ids.jitter())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match test(&session).await {
            Ok(()) => {
                before = fitness.state.borrow().failures_in_a_row;
                fitness.set(None);
            }
            Err(problem) => fitness.state.send_modify(|state| state.unfit = Some(problem)),
        }
    }
}

/// Looks for room on the disk, before a job is claimed and before it begins. Without any the worker is unfit.
pub(crate) async fn look_for_room(session: &Session) {
    if let Err(problem) = find_room(session).await {
        session.fitness.set(Some(problem));
    }
}

/// Makes sure that the disk has more free than the reserve. If not, what nobody needs is removed first.
async fn find_room(session: &Session) -> Result<(), String> {
    let disk = &session.config.sandbox.disk;
    if disk.shortage(&session.station).is_some() {
        sweep(session).await;
    }
    match disk.shortage(&session.station) {
        None => Ok(()),
        Some(shortage) => Err(format!("{shortage}; the work directory is {}", session.station.display())),
    }
}

/// Removes what dead workers left, and, if nothing runs here that may be what fills the disk, the environments that no
/// run uses.
async fn sweep(session: &Session) {
    clear_leftovers(&session.config.work_root).await;
    if session.config.installer.is_none() || session.busy.load(Ordering::Relaxed) > 0 {
        return;
    }
    let (root, station) = (session.config.work_root.clone(), session.station.clone());
    let cleared = spawn_blocking(move || Environments::of(&root)?.clear(&station)).await;
    if let Err(error) = cleared.map_err(std::io::Error::other).and_then(|cleared| cleared) {
        tracing::warn!(%error, "environments that no run uses could not be removed");
    }
}

/// Does all that is done for a job before its program runs, with a program of its own.
async fn test(session: &Session) -> Result<(), String> {
    const SCRIPT: &str = "import os, sys, tempfile; tempfile.TemporaryFile(); os.listdir('.')";
    let _one = session.fitness.testing.lock().await;
    restore_station(session)?;
    find_room(session).await?;
    let station = session.station.clone();
    let written = spawn_blocking(move || write(&station)).await;
    let told =
        |error: std::io::Error| format!("the work directory {} can't be used: {error}", session.station.display());
    written.map_err(|error| error.to_string())?.map_err(told)?;
    let probe = Probe { script: SCRIPT, ..Probe::default() };
    let ran = session.config.sandbox.run_probe(&session.config.python, &session.station, &probe).await;
    ran.map(drop).map_err(|problem| format!("a test program can't be run: {problem}"))
}

/// Makes the worker's place anew if somebody removed it, with the lock that says whose it is.
fn restore_station(session: &Session) -> Result<(), String> {
    if session.station.is_dir() {
        return Ok(());
    }
    let root = &session.config.work_root;
    let name = session.station.file_name().unwrap_or_default().to_string_lossy();
    let station = Station::take(root, &name, &session.config.consumer);
    let station = station.map_err(|error| format!("the work directory {} can't be used: {error}", root.display()))?;
    tracing::warn!(station = %session.station.display(), "recreated the missing work directory");
    *session.fitness.restored.lock().unwrap_or_else(PoisonError::into_inner) = Some(station);
    Ok(())
}

/// Whether there is room to write in a directory.
fn write(station: &Path) -> std::io::Result<()> {
    let mut file = tempfile_in(station)?;
    file.write_all(&vec![1; WRITTEN])?;
    file.sync_all()
}

/// A file that has lost its name already: a test that is cut short leaves nothing.
fn tempfile_in(station: &Path) -> std::io::Result<std::fs::File> {
    let path = station.join("room");
    let file = std::fs::File::create(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_job_that_failed_here_is_left_to_others_for_a_minute_or_until_it_runs_here() {
        let fitness = Fitness::default();
        let [one, two] =
            ["0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6"].map(|id| id.parse().unwrap());
        let fail = |job| fitness.note_failure(job, Failed::SettingUp);
        assert_eq!(fitness.note_failure(one, Failed::LaterOn), 0, "it was set up");
        assert_eq!((fail(one), fail(two)), (1, 2), "in a row");
        fitness.succeeded(two);
        assert!(fitness.failed_here(one) && !fitness.failed_here(two));
        assert_eq!(fail(two), 1, "not in a row");
        tokio::time::advance(LEFT_TO_OTHERS).await;
        assert!(!fitness.failed_here(one));
    }

    #[test]
    fn a_worker_without_a_turn_is_unfit_whatever_its_tests_say() {
        let fitness = Fitness::default();
        fitness.hinder(Some("the lock can't be taken".to_owned()));
        fitness.set(Some("its disk is full".to_owned()));
        fitness.set(None);
        assert_eq!(fitness.unfit().as_deref(), Some("the lock can't be taken"));
        fitness.hinder(None);
        assert_eq!(fitness.unfit(), None);
    }

    #[tokio::test]
    async fn who_waits_for_a_fit_worker_goes_on_when_it_is() {
        let fitness = Arc::new(Fitness::default());
        fitness.fit().await;
        fitness.set(Some("its disk is full".to_owned()));
        assert_eq!(fitness.unfit().as_deref(), Some("its disk is full"));
        let waits = tokio::spawn({
            let fitness = Arc::clone(&fitness);
            async move { fitness.fit().await }
        });
        fitness.set(None);
        waits.await.unwrap();
    }
}
