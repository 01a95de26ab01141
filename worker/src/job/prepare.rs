//! Puts a submission's files into the directory of a run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use events::ports::{ArchiveLimits, Ids, JobStatusPort, PortError, StorageError, StoragePort};
use events::submission::Manifest;
use events::{Submission, SubmissionId};
use tokio::time::timeout;

use crate::confinement::Sandbox;
use crate::confinement::limits::Shortage;
use crate::job::outcome::Outcome;
use crate::job::run::Attempt;
use crate::machine::platform_fault::is_platforms_io;
use crate::outage::Outage;

/// How long fetching and unpacking a submission may take.
pub(crate) const FETCH_LIMIT: Duration = Duration::from_mins(10);

/// Puts submissions' files into the directories of runs.
pub(crate) struct Preparer {
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) storage: Arc<dyn StoragePort>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) ids: Arc<dyn Ids>,
}

impl Preparer {
    /// Fetches and unpacks the submission of a run, and returns its manifest.
    ///
    /// # Errors
    /// The outcome of the run if its files can't be had.
    pub(crate) async fn prepare(&self, attempt: &Attempt<'_>) -> Result<Manifest, Outcome> {
        let work = attempt.directory.work();
        let manifest = tokio::select! {
            reason = attempt.interrupt.raised() => return Err(Outcome::stopped(reason)),
            fetched = timeout(FETCH_LIMIT, self.fetch(attempt)) => fetched.map_err(|_| {
                Outcome::broken(format!("fetching the submission took longer than {FETCH_LIMIT:?}"))
            })??,
        };
        for (what, path) in [("entrypoint", &manifest.entrypoint), ("config_file", &manifest.config_file)] {
            match std::fs::symlink_metadata(work.join(path)) {
                Ok(found) if found.is_file() => {}
                Err(error) if is_platforms_io(&error) => {
                    return Err(Outcome::broken(format!("{what} {path:?}: {error}")));
                }
                _ => return Err(Outcome::setup_failure(format!("{what} {path:?} is not a file of the submission"))),
            }
        }
        Ok(manifest)
    }

    async fn fetch(&self, attempt: &Attempt<'_>) -> Result<Manifest, Outcome> {
        let id = attempt.run.job.spec.submission;
        let work = attempt.directory.work();
        let watchdog = attempt.watchdog;
        let tell = |shortage: Option<Shortage>| watchdog.wait_for(shortage.map(|shortage| shortage.to_string()));
        let room = self.sandbox.disk.room(&work, tell).await;
        room.map_err(|shortage| Outcome::broken(format!("the job could not begin: {shortage}")))?;
        let submission = self.read_submission(id).await?;
        let manifest = submission.ok_or_else(|| Outcome::broken(format!("submission {id} is gone")))?.manifest;
        let limits = ArchiveLimits::default();
        self.fetch_files(attempt, id, &work, &limits, &manifest).await?;
        Ok(manifest)
    }

    /// Fetches the files as soon as storage answers: the caller bounds that.
    async fn fetch_files(
        &self,
        attempt: &Attempt<'_>,
        id: SubmissionId,
        work: &Path,
        limits: &ArchiveLimits,
        manifest: &Manifest,
    ) -> Result<(), Outcome> {
        let mut outage = Outage::of("fetching a submission");
        loop {
            match self.storage.fetch(id, work, limits, &manifest.archives).await {
                Err(StorageError::Away(why)) => {
                    attempt.watchdog.wait_for(Some(format!("storage can't be used: {why}")));
                    outage.pause(&why, self.ids.jitter()).await;
                }
                fetched => {
                    attempt.watchdog.wait_for(None);
                    outage.over();
                    return fetched.map_err(unfetched);
                }
            }
        }
    }

    /// Reads a submission, however long Redis is away: that costs the job no try.
    async fn read_submission(&self, id: SubmissionId) -> Result<Option<Submission>, Outcome> {
        let mut outage = Outage::of("reading a submission");
        loop {
            match self.status.submission(id).await {
                Err(error @ PortError::Unavailable(_)) => outage.pause(&error, self.ids.jitter()).await,
                read => {
                    return read.map_err(|error| {
                        tracing::error!(submission = %id, error = format!("{error:#}"), "a record can't be read");
                        Outcome::broken(format!("the record of submission {id} can't be read: tell an administrator"))
                    });
                }
            }
        }
    }
}

fn unfetched(error: StorageError) -> Outcome {
    match error {
        StorageError::Refused(sentence) => Outcome::setup_failure(sentence),
        StorageError::Missing(_) | StorageError::Away(_) | StorageError::Io { .. } => {
            Outcome::broken(error.to_string())
        }
    }
}
