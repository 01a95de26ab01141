//! Runs the program of a job whose files are there, confined and watched.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::ports::{LiveLogPort, LogPort, ProgressPort, StageName};
use events::submission::Manifest;
use events::{Consumer, ResourceClass};
use tokio::time::Instant;

use crate::confinement::job_variables::JobVariables;
use crate::confinement::limits::LimitWatch;
use crate::confinement::program::Program;
use crate::confinement::runner::{Confined, Observer, Terms};
use crate::confinement::supervise::process::{Ended, Graces};
use crate::confinement::{Confinement, Needs, Sandbox};
use crate::gpu::{GpuLease, GpuUsage, Meter};
use crate::job::outcome::Outcome;
use crate::job::run::{Attempt, Run};
use crate::log::job_log::JobLog;
use crate::log::live_log::LiveLog;
use crate::packages::{Demand, Environment, Packages};
use crate::progress::RunProgress;
use crate::python::Python;
use crate::stop::Stop;

/// Runs the programs of jobs.
pub(crate) struct Executor {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) python: Python,
    /// The environment variables that the operator gives every job.
    pub(crate) variables: JobVariables,
    pub(crate) graces: Graces,
    /// Installs requirements. `None` if those are not looked at.
    pub(crate) packages: Option<Packages>,
    pub(crate) logs: Arc<dyn LogPort>,
    pub(crate) live_log: Arc<dyn LiveLogPort>,
    pub(crate) progress: Arc<dyn ProgressPort>,
    /// This worker: markers of processes begin with its name.
    pub(crate) consumer: Consumer,
    pub(crate) stop: Stop,
}

/// How a program that was started came to its end.
pub(crate) struct Execution {
    /// An error if processes of the program may still be there.
    pub(crate) ended: io::Result<Ended>,
    pub(crate) run_time: Duration,
    pub(crate) gpu_usage: GpuUsage,
}

impl Executor {
    /// Opens the log of a run. A log that can't be kept costs the job nothing.
    pub(crate) async fn open_log(&self, run: &Run, limit_bytes: u64) -> JobLog {
        let target = match self.logs.create(run.job.id, &run.fence).await {
            Ok(target) => Some(target),
            Err(error) => {
                tracing::warn!(%error, "the log can't be kept; the job goes on");
                None
            }
        };
        let live = LiveLog::begin(Arc::clone(&self.live_log), run.job.id, run.fence.clone());
        JobLog::shown(target, limit_bytes, Some(live))
    }

    /// Runs the program of a job, and returns when nothing of it is left.
    ///
    /// # Errors
    /// The outcome of the run if the program could not be started.
    pub(crate) async fn execute(
        &self,
        attempt: &Attempt<'_>,
        manifest: &Manifest,
        class: &ResourceClass,
        log: &JobLog,
    ) -> Result<Execution, Outcome> {
        let Attempt { run, gpus, directory, .. } = *attempt;
        let marker = format!("{}/{}-{}", self.consumer, run.job.id, run.job.attempt());
        let environment = self.environment(attempt, class, &marker, log).await?;
        let python =
            environment.as_ref().map_or_else(|| self.python.clone(), |environment| environment.python(&self.python));
        let readable: Vec<PathBuf> = environment.iter().map(|environment| environment.path().to_owned()).collect();
        let needs = Needs { devices: &gpus.device_nodes(), readable: &readable, ..Needs::default() };
        let confinement = self.sandbox.confine(&run.short_name(), directory, needs, class).await;
        let confinement =
            confinement.map_err(|error| Outcome::broken(format!("its sandbox could not be made: {error}")))?;
        let program = Program {
            python: &python,
            entrypoint: &manifest.entrypoint,
            config_file: &manifest.config_file,
            directory,
            job: run.job.id,
            marker: &marker,
            variables: &self.variables,
            environment: &gpus.environment(),
        };
        self.run_program(attempt, &program, confinement, class.time_limit(), log).await
    }

    /// The environment that the submission requires, `None` if it requires none.
    async fn environment(
        &self,
        attempt: &Attempt<'_>,
        class: &ResourceClass,
        marker: &str,
        log: &JobLog,
    ) -> Result<Option<Environment>, Outcome> {
        let Attempt { run, directory, interrupt, watchdog, .. } = *attempt;
        let Some(packages) = &self.packages else { return Ok(None) };
        let name = run.short_name();
        packages.environment(directory, &Demand { name: &name, marker, class, log, interrupt, watchdog }).await
    }

    async fn run_program(
        &self,
        attempt: &Attempt<'_>,
        program: &Program<'_>,
        confinement: Confinement,
        limit: Duration,
        log: &JobLog,
    ) -> Result<Execution, Outcome> {
        let Attempt { run, gpus, directory, interrupt, watchdog } = *attempt;
        watchdog.enter("running", limit + self.graces.interrupt + self.graces.terminate);
        watchdog.show(StageName::Running.into());
        let meter = Meter::begin(gpus).await;
        let spec = program.spec(&confinement);
        let started = Confined::start(&self.sandbox, confinement, directory, &spec, program.marker).await;
        let started = started.map_err(|error| {
            Outcome::broken(format!("{} could not be started: {error}", program.python.path.display()))
        })?;
        let began = Instant::now();
        let progress = RunProgress::begin(Arc::clone(&self.progress), run.job.id, run.fence.clone());
        let terms = Terms { limit, graces: self.graces, interrupt, at_once: &self.stop.waiting };
        let listen = |output, errors| log.clone().pump_both(progress.tee(output), errors);
        let (ended, heard) = started.finish(terms, listen, &Sampling { progress: &progress, gpus }).await;
        if heard.is_none() {
            log.note("something the job left holds its output open; it is not read any further").await;
        }
        progress.close().await;
        Ok(Execution { ended, run_time: began.elapsed(), gpu_usage: meter.end(gpus).await })
    }
}

/// Samples what a run uses of the machine, for its progress.
struct Sampling<'a> {
    progress: &'a RunProgress,
    gpus: &'a GpuLease,
}

impl Observer for Sampling<'_> {
    async fn observe(&self, watch: &LimitWatch<'_>) -> Infallible {
        self.progress.sample(watch, self.gpus).await
    }
}
