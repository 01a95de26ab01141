//! One run, from its files to its outcome.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use events::job::ArtifactTotals;
use events::ports::{ArchiveLimits, PortError, StorageError};
use events::submission::Manifest;
use events::{LossCause, Submission, SubmissionId};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::artifacts::Keeper;
use crate::gpu::{GpuLease, Meter, Usage};
use crate::heartbeat;
use crate::interrupt::{Interrupt, Reason};
use crate::job_log::{JobLog, Stream};
use crate::judge::{Case, Outcome, judge, setup_failure, stopped};
use crate::limits::Watch;
use crate::live_log::LiveLog;
use crate::outage::Outage;
use crate::process::{Graces, Process};
use crate::program::Program;
use crate::progress::RunProgress;
use crate::record::record;
use crate::run_directory::RunDirectory;
use crate::session::{Session, Settled};
use crate::start::Run;
use crate::vitals::Vitals;

/// How long fetching and unpacking a submission may take.
const FETCH_LIMIT: Duration = Duration::from_mins(10);
/// How long the streams are read once the program has ended: something it left may hold them open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// What came of a run, how long its program ran, if it did, and what is kept of what it left.
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
        let report = attempt(session, run, &gpus, &interrupt, &vitals).await;
        drop(gpus);
        vitals.enter_unbounded();
        record(session, run, report).await
    };
    let drain = async {
        session.stop.running.cancelled().await;
        interrupt.raise(Reason::Drain);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        settled = work => settled,
        never = heartbeat::keep(session, run, &interrupt, &vitals) => match never {},
        () = drain => Settled::No,
    }
}

/// Makes the run's directory, runs the job in it, and removes it.
async fn attempt(session: &Session, run: &Run, gpus: &GpuLease, interrupt: &Interrupt, vitals: &Vitals) -> Report {
    vitals.enter("preparing", FETCH_LIMIT);
    let directory = match RunDirectory::create(&session.station, &short_name(run)) {
        Ok(directory) => directory,
        Err(error) => return broken(format!("the work directory could not be made: {error}")).into(),
    };
    let report = match prepare(session, run, &directory, interrupt).await {
        Ok(manifest) => execute(session, run, gpus, &directory, &manifest, interrupt, vitals).await,
        Err(outcome) => outcome.into(),
    };
    let removed = tokio::task::spawn_blocking(|| directory.remove()).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, "the work directory could not be removed");
    }
    report
}

/// Puts the submission's files into the work directory.
async fn prepare(
    session: &Session,
    run: &Run,
    directory: &RunDirectory,
    interrupt: &Interrupt,
) -> Result<Manifest, Outcome> {
    let id = run.job.spec.submission;
    let work = directory.work();
    let limits = ArchiveLimits::default();
    let fetch = async {
        let submission = read_submission(session, id).await?;
        let manifest = submission.ok_or_else(|| broken(format!("submission {id} is gone")))?.manifest;
        session.ports.storage.fetch(id, &work, &limits).await.map_err(unfetched)?;
        Ok(manifest)
    };
    let manifest = tokio::select! {
        reason = interrupt.raised() => return Err(stopped(reason)),
        fetched = timeout(FETCH_LIMIT, fetch) => {
            fetched.map_err(|_| broken(format!("fetching the submission took longer than {FETCH_LIMIT:?}")))??
        }
    };
    for (what, path) in [("entrypoint", &manifest.entrypoint), ("config_file", &manifest.config_file)] {
        if !is_file(&work.join(path)) {
            return Err(setup_failure(format!("{what} {path:?} is not a file of the submission")));
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

/// Runs the program and judges its end.
async fn execute(
    session: &Session,
    run: &Run,
    gpus: &GpuLease,
    directory: &RunDirectory,
    manifest: &Manifest,
    interrupt: &Interrupt,
    vitals: &Vitals,
) -> Report {
    let name = &run.job.spec.class;
    let policy = session.policy.get();
    let Some(class) = policy.class(name) else {
        return broken(format!("this worker does not know resource class {name}")).into();
    };
    let limit = Duration::from_secs(class.time_limit_s);
    let Graces { interrupt: first, terminate: second } = session.config.graces;
    vitals.enter("running", limit + first + second);
    let log = open_log(session, run, class.log_bytes).await;
    let marker = format!("{}/{}-{}", session.config.consumer, run.job.id, run.job.attempt());
    let program = Program {
        python: &session.config.python,
        entrypoint: &manifest.entrypoint,
        config_file: &manifest.config_file,
        directory,
        job: run.job.id,
        marker: &marker,
        environment: &gpus.environment(),
    };
    let sandbox = &session.config.sandbox;
    let cell = match sandbox.cell(&short_name(run), directory, &gpus.device_nodes(), class).await {
        Ok(cell) => cell,
        Err(error) => return broken(format!("its sandbox could not be made: {error}")).into(),
    };
    let meter = Meter::begin(gpus).await;
    let mut process = match Process::start(&program.spec(&cell), &marker).await {
        Ok(process) => process,
        Err(error) => {
            return broken(format!("{} could not be started: {error}", session.config.python.path.display())).into();
        }
    };
    let began = Instant::now();
    let progress = RunProgress::begin(Arc::clone(&session.ports.progress), run.job.id, run.fence.clone());
    let mut pumps = JoinSet::new();
    if let Some((output, errors)) = process.streams() {
        pumps.spawn(log.clone().pump(progress.tee(output), Stream::Output));
        pumps.spawn(log.clone().pump(errors, Stream::Errors));
    }
    let watch = Watch::of(&cell, &process, directory, &sandbox.counter);
    let supervisor = process.supervisor();
    let ended = tokio::select! {
        ended = process.finish(limit, interrupt, session.config.graces, &session.stop.waiting, watch.breach()) => ended,
        never = progress.sample(&sandbox.counter, supervisor, gpus) => match never {},
    };
    let ended = ended.map(|ended| cell.close(ended, directory));
    let run_time = Some(began.elapsed());
    if timeout(LAST_OUTPUT, async { while pumps.join_next().await.is_some() {} }).await.is_err() {
        log.note("something the job left holds its output open; it is not read any further").await;
    }
    progress.close().await;
    let case = Case { entrypoint: &manifest.entrypoint, class: name, limit, output: &directory.output(), log: &log };
    let outcome = match ended {
        Ok(ended) => with_usage(judge(&ended, &case), meter.end(gpus).await),
        Err(error) => {
            gpus.mark_unhealthy(&format!("what a job left on it may still be there: {error}"));
            broken(format!("the program could not be waited for: {error}"))
        }
    };
    let (output, output_bytes) = (directory.output(), class.output_bytes);
    let keeper = Keeper { session, run, output: &output, output_bytes, log: &log, interrupt, vitals };
    keeper.keep(Report { outcome, run_time, artifacts: ArtifactTotals::default() }).await
}

/// Short, for sockets in a job's own directories have paths of at most 107 bytes; the end of an id is random.
fn short_name(run: &Run) -> String {
    let id = run.job.id.to_string();
    format!("{}-{}", &id[id.len() - 12..], run.job.attempt())
}

/// What the platform measured stands beside what the job measured itself.
fn with_usage(mut outcome: Outcome, usage: Usage) -> Outcome {
    if let Outcome::Completed(results) = &mut outcome {
        usage.add_to(&mut results.performance);
    }
    outcome
}

async fn open_log(session: &Session, run: &Run, limit_bytes: u64) -> JobLog {
    let target = match session.ports.logs.create(run.job.id, &run.fence).await {
        Ok(target) => Some(target),
        Err(error) => {
            tracing::warn!(%error, "the log can't be kept; the job goes on");
            None
        }
    };
    let live = LiveLog::begin(Arc::clone(&session.ports.live_log), run.job.id, run.fence.clone());
    JobLog::shown(target, limit_bytes, Some(live))
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// The outcome where the platform failed, not the job.
fn broken(what: String) -> Outcome {
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
