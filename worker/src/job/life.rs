//! The life of one job, from its ticket to its recorded end: start, prepare, execute, judge, collect, record.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::policy::LivePolicy;
use events::ports::{Claim, ProgressPort, StageName};
use events::submission::Manifest;
use events::{LossCause, ResourceClass};
use tokio::task::spawn_blocking;
use tracing::Instrument;

use crate::confinement::run_directory::RunDirectory;
use crate::gpu::GpuLease;
use crate::job::artifacts::{ArtifactCollector, Output};
use crate::job::execute::Executor;
use crate::job::heartbeat::Heartbeats;
use crate::job::interrupt::{Interrupt, Reason};
use crate::job::judge::Judge;
use crate::job::outcome::{Outcome, RunEnd};
use crate::job::prepare::{FETCH_LIMIT, Preparer};
use crate::job::record::EndRecorder;
use crate::job::run::{Attempt, Run, Settled};
use crate::job::stage;
use crate::job::stage_watchdog::StageWatchdog;
use crate::job::start::{Answer, Starter};
use crate::log::closer::LogCloser;
use crate::log::job_log::JobLog;
use crate::services::fitness::FailedStage;
use crate::services::self_test::SelfTest;
use crate::stop::Stop;

/// How long a worker may take to test itself.
const TEST_LIMIT: Duration = Duration::from_mins(2);

/// The steps of a job, in their order, and what goes on beside them.
pub(crate) struct JobLife {
    pub(crate) starter: Starter,
    pub(crate) preparer: Preparer,
    pub(crate) executor: Executor,
    pub(crate) judge: Judge,
    pub(crate) collector: ArtifactCollector,
    pub(crate) log_closer: LogCloser,
    pub(crate) recorder: EndRecorder,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) self_test: Arc<SelfTest>,
    pub(crate) progress: Arc<dyn ProgressPort>,
    pub(crate) policy: Arc<LivePolicy>,
    /// Where run directories lie.
    pub(crate) directory: PathBuf,
    pub(crate) stop: Stop,
}

impl JobLife {
    /// Takes one ticket to its end.
    pub(crate) async fn live(&self, claim: &Claim, gpus: GpuLease) -> Settled {
        match self.starter.start(claim, gpus.uuids()).await {
            Answer::Started(run) => self.run(&run, gpus).instrument(run.span.clone()).await,
            Answer::NotOurs => Settled::Yes,
            Answer::Unanswered => Settled::No,
        }
    }

    /// Takes a run from its start to its recorded end, and keeps its lease meanwhile.
    ///
    /// Its GPUs are free again when nothing of it is left, before its end is recorded.
    async fn run(&self, run: &Run, gpus: GpuLease) -> Settled {
        tracing::info!("the job has started");
        let (interrupt, watchdog) = (Interrupt::default(), StageWatchdog::default());
        let work = async {
            let mut end = self.attempt(run, &gpus, &interrupt, &watchdog).await;
            drop(gpus);
            self.tell_fault(run, &mut end, &watchdog).await;
            watchdog.enter_unbounded();
            watchdog.show(StageName::Recording.into());
            self.recorder.record(run, end).await
        };
        let drain = async {
            self.stop.running.cancelled().await;
            interrupt.raise(Reason::Drain);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            settled = work => settled,
            never = self.heartbeats.keep(run, &interrupt, &watchdog) => match never {},
            never = stage::tell(&*self.progress, run.job.id, &run.fence, watchdog.stages()) => match never {},
            () = drain => Settled::No,
        }
    }

    /// Makes the run's directory, takes the steps of the run in it, and removes it.
    async fn attempt(&self, run: &Run, gpus: &GpuLease, interrupt: &Interrupt, watchdog: &StageWatchdog) -> RunEnd {
        watchdog.enter("preparing", FETCH_LIMIT);
        watchdog.show(StageName::Preparing.into());
        let directory = match RunDirectory::create(&self.directory, &run.short_name()) {
            Ok(directory) => directory,
            Err(error) => return Outcome::broken(format!("the work directory could not be made: {error}")).into(),
        };
        let attempt = Attempt { run, gpus, directory: &directory, interrupt, watchdog };
        let end = self.steps(&attempt).await.unwrap_or_else(RunEnd::from);
        tokio::select! {
            removed = spawn_blocking(|| directory.remove()) => {
                match removed {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "the work directory could not be removed"),
                    Err(error) => tracing::error!(%error, "the removal of the work directory panicked"),
                }
            }
            () = self.stop.last_word_is_over() => {
                tracing::warn!("the work directory is removed by the next worker here: it takes too long");
            }
        }
        end
    }

    /// Prepares, executes, judges, collects, and sends the end of the log. The error is the outcome of a run whose program did not start.
    async fn steps(&self, attempt: &Attempt<'_>) -> Result<RunEnd, Outcome> {
        let manifest = self.preparer.prepare(attempt).await?;
        let (name, policy) = (&attempt.run.job.spec.class, self.policy.get());
        // The class was removed since the job was started, or this worker has not heard of it yet. Neither the job nor the
        // worker is at fault. `Drain` is the cause that costs the job no try and gives it back at once.
        let class = policy.class(name).ok_or_else(|| {
            Outcome::GivenBack(LossCause::Drain, format!("resource class {name} is not offered here"))
        })?;
        let log = self.executor.open_log(attempt.run, class.log_bytes).await;
        let end = self.logged_steps(attempt, &manifest, class, &log).await.unwrap_or_else(RunEnd::from);
        Ok(self.log_closer.close(attempt, &log, end).await)
    }

    /// The steps that write to the log.
    async fn logged_steps(
        &self,
        attempt: &Attempt<'_>,
        manifest: &Manifest,
        class: &ResourceClass,
        log: &JobLog,
    ) -> Result<RunEnd, Outcome> {
        let execution = self.executor.execute(attempt, manifest, class, log).await?;
        let run_time = Some(execution.run_time);
        let outcome = self.judge.judge(attempt, manifest, class, log, execution).await;
        let output = Output { attempt, bytes: class.output_bytes, log };
        Ok(self.collector.collect(&output, RunEnd { run_time, ..outcome.into() }).await)
    }

    /// Tests the worker after a failure of the platform, and tells whose fault it was: the job does not pay for an
    /// unfit worker. A run that got further shows that the worker is fit.
    async fn tell_fault(&self, run: &Run, end: &mut RunEnd, watchdog: &StageWatchdog) {
        let stage = if end.run_time.is_some() { FailedStage::LaterOn } else { FailedStage::SettingUp };
        if let Outcome::GivenBack(cause @ LossCause::Infrastructure, why) = &mut end.outcome {
            watchdog.enter("testing the worker", TEST_LIMIT);
            *cause = self.self_test.judge_failure(run.job.id, &run.job.spec.class, stage, why).await;
        } else if end.run_time.is_some() {
            self.self_test.fitness.succeeded(run.job.id);
        }
    }
}
