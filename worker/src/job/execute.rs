//! One run of a program whose files are there: confined, watched, judged, and what it left is kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use events::job::ArtifactTotals;
use events::ports::StageName;
use events::submission::Manifest;
use events::{LossCause, ResourceClass};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use crate::confinement::limits::{Breach, Measure, Watch, largest_file};
use crate::confinement::program::Program;
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::supervise::process::{Ended, Graces, Process};
use crate::confinement::{Cell, Needs};
use crate::gpu::{GpuLease, Meter, Usage};
use crate::job::artifacts::Keeper;
use crate::job::interrupt::Interrupt;
use crate::job::judge::{Case, Outcome, judge};
use crate::job::life::{Report, broken, short_name};
use crate::job::stage_watchdog::Vitals;
use crate::job::start::Run;
use crate::log::job_log::{JobLog, Stream};
use crate::log::live_log::LiveLog;
use crate::packages::Demand;
use crate::progress::RunProgress;
use crate::session::Session;

/// How long the streams are read once the program has ended: something it left may hold them open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// One run of a program whose files are there.
#[derive(Clone, Copy)]
pub(crate) struct Execution<'a> {
    pub(crate) session: &'a Session,
    pub(crate) run: &'a Run,
    pub(crate) gpus: &'a GpuLease,
    pub(crate) directory: &'a RunDirectory,
    pub(crate) manifest: &'a Manifest,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) vitals: &'a Vitals,
}

/// How a program that was started came to its end.
struct Ran {
    ended: io::Result<Ended>,
    time: Duration,
    usage: Usage,
}

impl Execution<'_> {
    /// Runs the program, judges its end, and keeps what it left.
    pub(crate) async fn carry_out(&self) -> Report {
        let Self { session, run, directory, interrupt, vitals, .. } = *self;
        let name = &run.job.spec.class;
        let policy = session.policy.get();
        let Some(class) = policy.class(name) else {
            // It was removed since the job was started, or this worker has not heard of it yet: neither is the job's fault.
            return Outcome::GivenBack(LossCause::Drain, format!("resource class {name} is not offered here")).into();
        };
        let log = self.open_log(class.log_bytes).await;
        let ran = match self.run_program(class, &log).await {
            Ok(ran) => ran,
            Err(outcome) => return outcome.into(),
        };
        let run_time = Some(ran.time);
        let outcome = self.outcome(ran, class, &log).await;
        let (output, output_bytes) = (directory.output(), class.output_bytes);
        let keeper = Keeper { session, run, output: &output, output_bytes, log: &log, interrupt, vitals };
        keeper.keep(Report { outcome, run_time, artifacts: ArtifactTotals::default() }).await
    }

    /// Gives the program what it needs and starts it; returns when nothing of it is left.
    async fn run_program(&self, class: &ResourceClass, log: &JobLog) -> Result<Ran, Outcome> {
        let Self { session, run, gpus, directory, manifest, interrupt, vitals } = *self;
        let name = short_name(run);
        let marker = format!("{}/{}-{}", session.config.consumer, run.job.id, run.job.attempt());
        let demand = Demand { session, name: &name, marker: &marker, class, log, interrupt, vitals };
        let environment = demand.environment(directory).await?;
        let base = &session.config.python;
        let python = environment.as_ref().map_or_else(|| base.clone(), |environment| environment.python(base));
        let program = Program {
            python: &python,
            entrypoint: &manifest.entrypoint,
            config_file: &manifest.config_file,
            directory,
            job: run.job.id,
            marker: &marker,
            variables: &session.config.variables,
            environment: &gpus.environment(),
        };
        let readable: Vec<PathBuf> = environment.iter().map(|environment| environment.path().to_owned()).collect();
        let needs = Needs { devices: &gpus.device_nodes(), readable: &readable, ..Needs::default() };
        let cell = session.config.sandbox.cell(&name, directory, needs, class).await;
        let cell = cell.map_err(|error| broken(format!("its sandbox could not be made: {error}")))?;
        let Graces { interrupt: first, terminate: second } = session.config.graces;
        vitals.enter("running", time_limit(class) + first + second);
        vitals.show(StageName::Running.into());
        let meter = Meter::begin(gpus).await;
        let process = Process::start(&program.spec(&cell), &marker).await;
        let process =
            process.map_err(|error| broken(format!("{} could not be started: {error}", python.path.display())))?;
        let began = Instant::now();
        let ended = self.attend(process, cell, time_limit(class), log).await;
        Ok(Ran { ended, time: began.elapsed(), usage: meter.end(gpus).await })
    }

    /// Listens to a program and watches it until nothing of it is left.
    async fn attend(&self, mut process: Process, cell: Cell, limit: Duration, log: &JobLog) -> io::Result<Ended> {
        let Self { session, run, gpus, directory, interrupt, .. } = *self;
        let counter = &session.config.sandbox.counter;
        let progress = RunProgress::begin(Arc::clone(&session.ports.progress), run.job.id, run.fence.clone());
        let mut pumps = JoinSet::new();
        if let Some((output, errors)) = process.streams() {
            pumps.spawn(log.clone().pump(progress.tee(output), Stream::Output));
            pumps.spawn(log.clone().pump(errors, Stream::Errors));
        }
        let watch = Watch::of(&cell, &process, directory, counter);
        let at_once = &session.stop.waiting;
        let ended = tokio::select! {
            ended = process.finish(limit, interrupt, session.config.graces, at_once, watch.breach()) => ended,
            never = progress.sample(&watch, gpus) => match never {},
        };
        let ended = match ended {
            Ok(ended) => Ok(cell.close(ended, directory)),
            Err(error) => {
                session.config.sandbox.abandon(cell);
                Err(error)
            }
        };
        if timeout(LAST_OUTPUT, async { while pumps.join_next().await.is_some() {} }).await.is_err() {
            log.note("something the job left holds its output open; it is not read any further").await;
        }
        progress.close().await;
        ended
    }

    async fn outcome(&self, ran: Ran, class: &ResourceClass, log: &JobLog) -> Outcome {
        let (output, disk) = (self.directory.output(), &self.session.config.sandbox.disk);
        let largest = match ran.ended.as_ref().ok().and_then(|ended| measure_of_too_much(ended, &output)) {
            Some(measure) => {
                let folders = self.directory.parts();
                spawn_blocking(move || largest_file(&folders, measure)).await.ok().flatten()
            }
            None => None,
        };
        let case = Case {
            entrypoint: &self.manifest.entrypoint,
            class: &self.run.job.spec.class,
            limit: time_limit(class),
            output: &output,
            log,
            output_bytes: class.output_bytes,
            largest: largest.as_ref(),
            network: self.session.config.sandbox.network(),
            disk_was_short: disk.shortage(&output).is_some() || disk.was_short_within(ran.time + LAST_OUTPUT),
        };
        match ran.ended {
            Ok(ended) => with_usage(judge(&ended, &case), ran.usage),
            Err(error) => {
                self.gpus.mark_unhealthy(&format!("what a job left on it may still be there: {error}"));
                broken(format!("the program could not be waited for: {error}"))
            }
        }
    }

    async fn open_log(&self, limit_bytes: u64) -> JobLog {
        let Self { session, run, .. } = *self;
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
}

/// By what the largest file is to be found, if an end may be due to too much that was written.
fn measure_of_too_much(ended: &Ended, output: &Path) -> Option<Measure> {
    match ended {
        Ended::Exited(status) => {
            let may_be = !status.success() || output.join("metrics.json").symlink_metadata().is_err();
            may_be.then_some(Measure::Size)
        }
        Ended::Exceeded(Breach::Disk(..)) => Some(Measure::Taken),
        Ended::Exceeded(_) | Ended::TimedOut | Ended::Interrupted(_) => None,
    }
}

const fn time_limit(class: &ResourceClass) -> Duration {
    Duration::from_secs(class.time_limit_s)
}

/// What the platform measured stands beside what the job measured itself.
fn with_usage(mut outcome: Outcome, usage: Usage) -> Outcome {
    if let Outcome::Completed(results) = &mut outcome {
        usage.add_to(&mut results.performance);
    }
    outcome
}
