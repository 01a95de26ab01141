//! Tests whether this worker can set jobs up. An unfit worker is tested again, with pauses, until it can.
//!
//! A failure before a job's program runs may be the worker's fault or the job's. So each is followed by a test that has
//! nothing to do with the job: a directory is made in the work root, filled and removed, and a program is started as
//! jobs are. A worker that fails it is unfit at once, and the job pays nothing if another worker can take it. A worker
//! that passes it and fails to set jobs up nevertheless, twice in a row, pauses too; those failures count. A worker
//! whose disk has less free than the reserve is unfit before any job fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::ports::{Ids, WorkersPort};
use events::{ClassName, Consumer, JobId, LossCause};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::confinement::{Probe, Sandbox};
use crate::packages::Environments;
use crate::python::Python;
use crate::recovery::crash_recovery::clear_leftovers;
use crate::recovery::worker_directory::WorkerDirectory;
use crate::services::fitness::{FailedStage, Fitness, Unfit};

/// How many jobs in a row a worker may fail to set up before it pauses.
const MOST_FAILURES: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many bytes the test writes.
const WRITTEN: usize = 1 << 20;

/// Tests whether this worker can set jobs up.
pub(crate) struct SelfTest {
    pub(crate) fitness: Arc<Fitness>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) python: Python,
    pub(crate) work_root: PathBuf,
    /// The directory of this worker process.
    pub(crate) directory: PathBuf,
    pub(crate) consumer: Consumer,
    pub(crate) workers: Arc<dyn WorkersPort>,
    pub(crate) ids: Arc<dyn Ids>,
    /// Whether this worker keeps environments of packages.
    pub(crate) keeps_environments: bool,
    /// How many slots are in use.
    pub(crate) busy: Arc<AtomicUsize>,
    /// One test at a time. Holds the directory in the place of one that was removed while the worker ran.
    pub(crate) restored: tokio::sync::Mutex<Option<WorkerDirectory>>,
}

impl SelfTest {
    /// Tests an unfit worker with longer and longer pauses, until it can set jobs up again. Runs until aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        let fitness = &self.fitness;
        let mut pause = FIRST_PAUSE;
        let mut before = 0;
        loop {
            // A job that was set up since the last pause begins a new row.
            if fitness.becomes_unfit().await <= before {
                (pause, before) = (FIRST_PAUSE, 0);
            }
            sleep(pause.mul_f64(self.ids.jitter())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.test().await {
                Ok(()) => {
                    before = fitness.failures_in_a_row();
                    fitness.set(None);
                }
                Err(problem) => fitness.stays_unfit(problem),
            }
        }
    }

    /// Judges a failure of the platform during a run: returns what it means to the job.
    pub(crate) async fn judge_failure(
        &self,
        job: JobId,
        class: &ClassName,
        stage: FailedStage,
        why: &str,
    ) -> LossCause {
        let failures = self.fitness.note_failure(job, stage);
        let tested = self.test().await;
        if self.fitness.unfit().is_none() {
            match &tested {
                Err(problem) => self.fitness.set(Some(problem.clone())),
                Ok(()) if stage == FailedStage::SettingUp && failures >= MOST_FAILURES => {
                    let why = format!("{failures} jobs in a row failed: {why}");
                    self.fitness.set(Some(Unfit::new("several jobs in a row failed before they began", why)));
                }
                Ok(()) => {}
            }
        }
        if tested.is_err() && self.others_take(class).await {
            LossCause::WorkerUnfit
        } else {
            LossCause::Infrastructure
        }
    }

    /// Whether another worker takes jobs of this class, as far as is known.
    pub(crate) async fn others_take(&self, class: &ClassName) -> bool {
        let workers = self.workers.workers(std::slice::from_ref(class)).await.unwrap_or_default();
        let mut others = workers.iter().filter_map(|seen| seen.presence.as_ref());
        others.any(|told| told.worker != self.consumer && told.takes(class))
    }

    /// Looks for room on the disk, before a job is claimed and before it starts. Without any the worker is unfit.
    pub(crate) async fn look_for_room(&self) {
        if let Err(problem) = self.find_room().await {
            self.fitness.set(Some(problem));
        }
    }

    /// Makes sure that the disk has more free than the reserve. If it has not, files that nobody needs are removed
    /// first.
    async fn find_room(&self) -> Result<(), Unfit> {
        let disk = &self.sandbox.disk;
        if disk.shortage(&self.directory).is_some() {
            self.sweep().await;
        }
        match disk.shortage(&self.directory) {
            None => Ok(()),
            Some(shortage) => {
                let why = format!("{shortage}; the work directory is {}", self.directory.display());
                Err(Unfit::new("its disk has too little free", why))
            }
        }
    }

    /// Removes what dead workers left. If no run here may be what fills the disk, removes the environments that no run
    /// uses.
    async fn sweep(&self) {
        clear_leftovers(&self.work_root).await;
        if !self.keeps_environments || self.busy.load(Ordering::Relaxed) > 0 {
            return;
        }
        let (root, directory) = (self.work_root.clone(), self.directory.clone());
        let cleared = spawn_blocking(move || Environments::of(&root)?.clear(&directory)).await;
        if let Err(error) = cleared.map_err(std::io::Error::other).and_then(|cleared| cleared) {
            tracing::warn!(%error, "environments that no run uses could not be removed");
        }
    }

    /// Does all that is done for a job before its program runs, with a program of its own.
    async fn test(&self) -> Result<(), Unfit> {
        const SCRIPT: &str = "import os, sys, tempfile; tempfile.TemporaryFile(); os.listdir('.')";
        let mut restored = self.restored.lock().await;
        if let Some(directory) = self.restore_directory()? {
            *restored = Some(directory);
        }
        self.find_room().await?;
        let directory = self.directory.clone();
        let written = spawn_blocking(move || write(&directory)).await;
        written.map_err(std::io::Error::other).flatten().map_err(|error| unusable(&self.directory, &error))?;
        let probe = Probe { script: SCRIPT, ..Probe::default() };
        let ran = self.sandbox.run_probe(&self.python, &self.directory, &probe).await;
        ran.map(drop).map_err(|problem| {
            Unfit::new("a test program can't be run", format!("a test program can't be run: {problem}"))
        })
    }

    /// Makes the worker's directory anew if somebody removed it, with the lock that says whose it is.
    fn restore_directory(&self) -> Result<Option<WorkerDirectory>, Unfit> {
        if self.directory.is_dir() {
            return Ok(None);
        }
        let root = &self.work_root;
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy();
        let directory = WorkerDirectory::take(root, &name, &self.consumer);
        let directory = directory.map_err(|error| unusable(root, &error))?;
        tracing::warn!(directory = %self.directory.display(), "recreated the missing work directory");
        Ok(Some(directory))
    }
}

fn unusable(directory: &Path, error: &impl std::fmt::Display) -> Unfit {
    let why = format!("the work directory {} can't be used: {error}", directory.display());
    Unfit::new("its work directory can't be used", why)
}

/// Whether there is room to write in a directory.
fn write(directory: &Path) -> std::io::Result<()> {
    let mut file = nameless_file_in(directory)?;
    file.write_all(&vec![1; WRITTEN])?;
    file.sync_all()
}

/// A file that has lost its name already: a test that is cut short leaves nothing.
fn nameless_file_in(directory: &Path) -> std::io::Result<std::fs::File> {
    let path = directory.join("room");
    let file = std::fs::File::create(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
