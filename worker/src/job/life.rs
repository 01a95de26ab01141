//! One run, from its files to its recorded end.

use std::time::Duration;

use events::job::ArtifactTotals;
use events::ports::{ArchiveLimits, PortError, StageName, StorageError};
use events::submission::Manifest;
use events::{LossCause, Submission, SubmissionId};
use tokio::time::timeout;

use crate::confinement::limits::Shortage;
use crate::confinement::run_directory::RunDirectory;
use crate::gpu::GpuLease;
use crate::job::execute::Execution;
use crate::job::heartbeat;
use crate::job::interrupt::{Interrupt, Reason};
use crate::job::judge::{Outcome, setup_failure, stopped};
use crate::job::record::record;
use crate::job::stage;
use crate::job::stage_watchdog::Vitals;
use crate::job::start::Run;
use crate::machine::platform_fault::is_platforms_io;
use crate::outage::Outage;
use crate::services::fitness::{Failed, judge_failure};
use crate::session::{Session, Settled};

/// How long fetching and unpacking a submission may take.
const FETCH_LIMIT: Duration = Duration::from_mins(10);

/// How long a worker may take to test itself.
const TEST_LIMIT: Duration = Duration::from_mins(2);

/// The outcome of a run, the duration of its program if it ran, and the artifacts that are kept.
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) run_time: Option<Duration>,
    pub(crate) artifacts: ArtifactTotals,
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, run_time: None, artifacts: ArtifactTotals::default() }
    }
}

/// Takes a run from its start to its recorded end.
///
/// Its GPUs are free again when nothing of it is left, before its end is recorded.
pub(crate) async fn run(session: &Session, run: &Run, gpus: GpuLease) -> Settled {
    tracing::info!("the job has started");
    let interrupt = Interrupt::default();
    let vitals = Vitals::default();
    let work = async {
        let mut report = attempt(session, run, &gpus, &interrupt, &vitals).await;
        drop(gpus);
        if let Outcome::GivenBack(cause @ LossCause::Infrastructure, why) = &mut report.outcome {
            vitals.enter("testing the worker", TEST_LIMIT);
            let stage = if report.run_time.is_some() { Failed::LaterOn } else { Failed::SettingUp };
            *cause = judge_failure(session, run, stage, why).await;
        } else if report.run_time.is_some() {
            session.fitness.succeeded(run.job.id);
        }
        vitals.enter_unbounded();
        vitals.show(StageName::Recording.into());
        record(session, run, report).await
    };
    let shown = stage::tell(&*session.ports.progress, run.job.id, &run.fence, vitals.stages());
    let drain = async {
        session.stop.running.cancelled().await;
        interrupt.raise(Reason::Drain);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        settled = work => settled,
        never = heartbeat::keep(session, run, &interrupt, &vitals) => match never {},
        never = shown => match never {},
        () = drain => Settled::No,
    }
}

/// Makes the run's directory, runs the job in it, and removes it.
async fn attempt(session: &Session, run: &Run, gpus: &GpuLease, interrupt: &Interrupt, vitals: &Vitals) -> Report {
    vitals.enter("preparing", FETCH_LIMIT);
    vitals.show(StageName::Preparing.into());
    let directory = match RunDirectory::create(&session.station, &short_name(run)) {
        Ok(directory) => directory,
        Err(error) => return broken(format!("the work directory could not be made: {error}")).into(),
    };
    let report = match prepare(session, run, &directory, interrupt, vitals).await {
        Ok(manifest) => {
            let (directory, manifest) = (&directory, &manifest);
            Execution { session, run, gpus, directory, manifest, interrupt, vitals }.carry_out().await
        }
        Err(outcome) => outcome.into(),
    };
    tokio::select! {
        removed = tokio::task::spawn_blocking(|| directory.remove()) => {
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "the work directory could not be removed");
            }
        }
        () = session.stop.last_word_is_over() => {
            tracing::warn!("the work directory is removed by the next worker here: it takes too long");
        }
    }
    report
}

/// Puts the submission's files into the work directory.
async fn prepare(
    session: &Session,
    run: &Run,
    directory: &RunDirectory,
    interrupt: &Interrupt,
    vitals: &Vitals,
) -> Result<Manifest, Outcome> {
    let id = run.job.spec.submission;
    let work = directory.work();
    let limits = ArchiveLimits::default();
    let disk = &session.config.sandbox.disk;
    let fetch = async {
        let tell = |shortage: Option<Shortage>| vitals.wait_for(shortage.map(|shortage| shortage.to_string()));
        disk.room(&work, tell).await.map_err(|shortage| broken(format!("the job could not begin: {shortage}")))?;
        let submission = read_submission(session, id).await?;
        let manifest = submission.ok_or_else(|| broken(format!("submission {id} is gone")))?.manifest;
        session.ports.storage.fetch(id, &work, &limits, &manifest.archives).await.map_err(unfetched)?;
        Ok(manifest)
    };
    let manifest = tokio::select! {
        reason = interrupt.raised() => return Err(stopped(reason)),
        fetched = timeout(FETCH_LIMIT, fetch) => {
            fetched.map_err(|_| broken(format!("fetching the submission took longer than {FETCH_LIMIT:?}")))??
        }
    };
    for (what, path) in [("entrypoint", &manifest.entrypoint), ("config_file", &manifest.config_file)] {
        match std::fs::symlink_metadata(work.join(path)) {
            Ok(found) if found.is_file() => {}
            Err(error) if is_platforms_io(&error) => return Err(broken(format!("{what} {path:?}: {error}"))),
            _ => return Err(setup_failure(format!("{what} {path:?} is not a file of the submission"))),
        }
    }
    Ok(manifest)
}

/// Reads what is known of a submission, however long Redis is away: that costs the job no try.
async fn read_submission(session: &Session, id: SubmissionId) -> Result<Option<Submission>, Outcome> {
    let mut outage = Outage::of("reading a submission");
    loop {
        match session.ports.status.submission(id).await {
            Err(error @ PortError::Unavailable(_)) => outage.pause(&error, session.ports.ids.jitter()).await,
            read => return read.map_err(unreadable),
        }
    }
}

/// Short, for sockets in a job's own directories have paths of at most 107 bytes; the end of an id is random.
pub(crate) fn short_name(run: &Run) -> String {
    let id = run.job.id.to_string();
    format!("{}-{}", &id[id.len() - 12..], run.job.attempt())
}

/// The outcome where the platform failed, not the job.
pub(crate) fn broken(what: String) -> Outcome {
    Outcome::GivenBack(LossCause::Infrastructure, what)
}

fn unreadable(error: PortError) -> Outcome {
    broken(format!("the submission could not be read: {error}"))
}

fn unfetched(error: StorageError) -> Outcome {
    match error {
        StorageError::Refused(sentence) => setup_failure(sentence),
        StorageError::Missing(_) | StorageError::Io { .. } => broken(error.to_string()),
    }
}
