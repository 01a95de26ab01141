//! What earlier processes under this work root left: processes, tickets, directories.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use events::execute::ExecuteError;
use events::ports::{Claim, JobQueuePort, JobStatusPort, LogPort, PortError};
use events::{Consumer, JobCommand, JobState, LossCause};
use tokio::task::spawn_blocking;

use crate::commands::Commands;
use crate::confinement::Sandbox;
use crate::log::cut_off;
use crate::outage::Outage;
use crate::recovery::leftovers::kill_marked;
use crate::recovery::worker_directory::WorkerDirectory;
use crate::served_classes::ServedClasses;
use crate::stop::Stop;

/// Ends what dead workers left running below this folder, and removes their files. What must be settled with Redis stays.
///
/// To be called before Redis is needed: their files may be what leaves it no room.
pub async fn clear_leftovers(work_root: &Path) {
    let directories = match WorkerDirectory::of_the_dead(work_root) {
        Ok(directories) => directories,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(%error, "the leftovers of earlier workers can't be listed");
            return;
        }
    };
    for directory in directories {
        let dead = directory.consumer().clone();
        kill_leftovers(&dead).await;
        match spawn_blocking(move || directory.empty()).await {
            Ok(Ok(())) => tracing::info!(%dead, "removed the files that an earlier worker left"),
            Ok(Err(error)) => {
                tracing::warn!(%dead, %error, "the files that an earlier worker left could not be removed");
            }
            Err(error) => tracing::warn!(%dead, %error, "deleting the files of an earlier worker stopped early"),
        }
    }
}

/// Takes over what dead workers under the same work root left.
pub(crate) struct CrashRecovery {
    pub(crate) work_root: PathBuf,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) commands: Commands,
    pub(crate) queue: Arc<dyn JobQueuePort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) logs: Arc<dyn LogPort>,
    pub(crate) classes: ServedClasses,
    pub(crate) stop: Stop,
}

impl CrashRecovery {
    /// Settles what the dead left, and returns the tickets they had claimed and not started.
    pub(crate) async fn take_over(&self) -> Vec<Claim> {
        let directories = match WorkerDirectory::of_the_dead(&self.work_root) {
            Ok(directories) => directories,
            Err(error) => {
                tracing::warn!(%error, "the leftovers of earlier workers can't be listed");
                return vec![];
            }
        };
        let mut inherited = Vec::new();
        for directory in directories {
            let dead = directory.consumer().clone();
            tracing::info!(%dead, "recovering the jobs of an earlier worker");
            kill_leftovers(&dead).await;
            self.sandbox.sweep(dead.as_str());
            let Some(claims) = self.adopt(&dead).await else { return inherited };
            for claim in claims {
                if self.end_lease(&directory, &claim).await {
                    inherited.push(claim);
                }
            }
            if let Err(error) = directory.close() {
                tracing::warn!(%dead, %error, "its directory could not be removed");
            }
        }
        inherited
    }

    /// The tickets of the dead, which are ours from now on. `None` if the worker is to stop before Redis answers.
    async fn adopt(&self, dead: &Consumer) -> Option<Vec<Claim>> {
        let classes = self.classes.all();
        let mut outage = Outage::of("taking over tickets");
        loop {
            match self.queue.adopt(dead, &self.commands.consumer, &classes).await {
                Ok(claims) => return Some(claims),
                Err(error) => tokio::select! {
                    () = outage.pause(&error, self.commands.ids.jitter()) => {}
                    () = self.stop.begun() => return None,
                },
            }
        }
    }

    /// Ends the run of a dead worker. Returns whether the ticket is still of use: it was claimed and not started.
    async fn end_lease(&self, directory: &WorkerDirectory, claim: &Claim) -> bool {
        let mut outage = Outage::of("ending the leases of an earlier worker");
        loop {
            let error = match self.try_end_lease(directory, claim).await {
                Ok(of_use) => return of_use,
                Err(error) => error,
            };
            tokio::select! {
                () = outage.pause(&error, self.commands.ids.jitter()) => {}
                () = self.stop.begun() => return true,
            }
        }
    }

    async fn try_end_lease(&self, directory: &WorkerDirectory, claim: &Claim) -> Result<bool, String> {
        let dead = directory.consumer();
        let job = match self.status.job(claim.job).await {
            // The worker that starts it puts it aside.
            Err(PortError::Corrupt(_)) => return Ok(true),
            job => job.map_err(|error| error.to_string())?,
        };
        let Some(job) = job else { return Ok(true) };
        let ran_it = job.run.as_ref().is_some_and(|run| run.worker == *dead);
        let (JobState::Running, true, Some(fence)) = (&job.state, ran_it, job.current_fence()) else {
            return Ok(true);
        };
        // A worker that stopped in order, while only Redis was away, costs the job no try.
        let (cause, error) = if directory.is_unrecorded(fence) {
            (LossCause::Drain, format!("worker {dead} stopped, and could not record the end of the run"))
        } else {
            (LossCause::WorkerLost, format!("worker {dead} died while it ran the job"))
        };
        let command = JobCommand::LoseLease { fence: fence.clone(), cause, error };
        match self.commands.carry_out(job.id, &command, job.trace.clone()).await {
            Ok(_) => {
                cut_off(&self.logs, job.id, fence);
                Ok(false)
            }
            Err(ExecuteError::Rejected(_)) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Kills the processes of a dead worker's jobs.
async fn kill_leftovers(dead: &Consumer) {
    let survivors = kill_marked(&format!("{dead}/")).await;
    if !survivors.is_empty() {
        tracing::error!(%dead, ?survivors, "processes of its jobs do not die");
    }
}
