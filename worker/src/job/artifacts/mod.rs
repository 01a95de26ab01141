//! Keeping what a run left: once nothing of it is alive, before its end is recorded.
//!
//! `survey` finds what there is, `collect` copies it on a thread of its own, and [`ArtifactCollector`] watches that
//! thread, for the run's sign of life and for what may cut it short. A run's results count even if its files are lost.

mod collect;
mod limits;
mod pulse;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use events::job::ArtifactTotals;
use events::ports::{ArtifactPort, Ids, PortError, Stage, StageName};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::job::interrupt::Reason;
use crate::job::outcome::{Outcome, RunEnd};
use crate::job::run::Attempt;
use crate::log::job_log::JobLog;
use crate::outage::Outage;
use crate::stop::Stop;

use collect::{CollectError, Collected, collect};
pub use limits::ArtifactLimits;
use pulse::Pulse;

/// How long storing may show no sign of life, and how long one of its two ends may take.
const SILENCE: Duration = Duration::from_mins(5);
/// How long it may take in all.
const WHOLE_LIMIT: Duration = Duration::from_hours(2);
/// How long storage may be away where there is no budget for it.
const PATIENCE: Duration = Duration::from_mins(10);
/// The same for a run that failed.
const FAILED_PATIENCE: Duration = Duration::from_secs(10);
/// How long removing the run's directory may take, which follows.
const CLEARING_LIMIT: Duration = Duration::from_mins(30);
/// How often to check for a sign of life.
const LOOK: Duration = Duration::from_secs(1);

/// Collects the output of runs into storage.
pub(crate) struct ArtifactCollector {
    pub(crate) port: Arc<dyn ArtifactPort>,
    pub(crate) limits: ArtifactLimits,
    /// How long the end of a run waits for storage that is away; then the platform has failed it. `None`: for a while,
    /// and then its results count without its files.
    pub(crate) budget: Option<Duration>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) stop: Stop,
}

/// The output of one run.
pub(crate) struct Output<'a> {
    pub(crate) attempt: &'a Attempt<'a>,
    /// How many bytes the run may write: no more than this is kept either.
    pub(crate) bytes: u64,
    pub(crate) log: &'a JobLog,
}

/// Why nothing is kept.
enum Cut {
    /// Another run is the job's by now, or the worker is to wait no longer.
    Interrupted(Reason),
    /// It can't be done.
    GivenUp(String),
    /// Storage shows no sign of life.
    Silent(String),
    /// Storage is away; it may come back.
    Away(PortError),
}

impl ArtifactCollector {
    /// Collects the output of a run that ended by itself, completed or failed, and notes that in its end.
    pub(crate) async fn collect(&self, output: &Output<'_>, mut end: RunEnd) -> RunEnd {
        let patience = match end.outcome {
            Outcome::Completed(_) => self.budget.unwrap_or(PATIENCE),
            // Its files may be what fills the disk.
            Outcome::Failed(_) => self.budget.unwrap_or(FAILED_PATIENCE),
            Outcome::Cancelled | Outcome::GivenBack(..) | Outcome::Lost => return end,
        };
        let began = Instant::now();
        match self.store(output, patience).await {
            Ok(totals) => {
                let (files, bytes, seconds) = (totals.count, totals.bytes, began.elapsed().as_secs_f64());
                tracing::info!(files, bytes, seconds, "stored the artifacts of the run");
                end.artifacts = totals;
            }
            Err(Cut::Interrupted(reason)) => end.outcome = Outcome::stopped(reason),
            Err(Cut::Away(error)) if self.budget.is_some() => {
                end.outcome = Outcome::broken(format!("storage was away for {patience:?}: {error}"));
            }
            Err(Cut::GivenUp(why) | Cut::Silent(why)) => output.give_up(&why).await,
            Err(Cut::Away(error)) => output.give_up(&error.to_string()).await,
        }
        output.attempt.watchdog.enter("clearing up", CLEARING_LIMIT);
        end
    }

    /// Tries until storage works, or was away for too long.
    async fn store(&self, output: &Output<'_>, patience: Duration) -> Result<ArtifactTotals, Cut> {
        let deadline = Instant::now() + WHOLE_LIMIT + patience;
        let mut outage = Outage::of("storing artifacts");
        let mut away: Option<(Instant, String)> = None;
        loop {
            let pulse = Pulse::default();
            // Whatever cuts this short ends the thread too.
            let _stop = pulse.stop.clone().drop_guard();
            let reason = away.as_ref().map(|(_, why)| why.clone());
            let stored = self.watch(output, self.try_store(output, &pulse), &pulse, (deadline, reason)).await;
            match stored.map_err(|cut| self.of_silence(cut)) {
                Err(Cut::Away(error)) if away.as_ref().is_none_or(|(since, _)| since.elapsed() < patience) => {
                    let since = away.map_or_else(Instant::now, |(since, _)| since);
                    let why = error.to_string();
                    output.attempt.watchdog.show(Stage { reason: Some(why.clone()), ..StageName::Storing.into() });
                    away = Some((since, why));
                    output.attempt.watchdog.enter("storing artifacts", SILENCE);
                    tokio::select! {
                        () = outage.pause(&error, self.ids.jitter()) => {}
                        () = self.stop.patience_is_over() => return Err(Cut::Interrupted(Reason::Drain)),
                    }
                }
                done => {
                    outage.over();
                    return done;
                }
            }
        }
    }

    /// A server that is silent may answer again; a folder on a dead mount blocks a thread at each try.
    fn of_silence(&self, cut: Cut) -> Cut {
        match cut {
            Cut::Silent(why) if self.budget.is_some() => Cut::Away(PortError::Unavailable(why.into())),
            cut => cut,
        }
    }

    /// Lets `work` go on for as long as it shows signs of life and is of use.
    async fn watch(
        &self,
        output: &Output<'_>,
        work: impl Future<Output = Result<ArtifactTotals, Cut>>,
        pulse: &Pulse,
        (deadline, reason): (Instant, Option<String>),
    ) -> Result<ArtifactTotals, Cut> {
        let mut work = std::pin::pin!(work);
        let mut over = std::pin::pin!(self.stop.patience_is_over());
        let mut looks = interval(LOOK);
        let (mut signs, mut seen) = (0, Instant::now());
        output.attempt.watchdog.enter("storing artifacts", SILENCE);
        loop {
            output.attempt.watchdog.show(Stage { reason: reason.clone(), ..pulse.stage() });
            tokio::select! {
                done = &mut work => return done,
                _ = looks.tick() => {
                    let now = pulse.beats();
                    if now != signs {
                        (signs, seen) = (now, Instant::now());
                        output.attempt.watchdog.enter("storing artifacts", SILENCE);
                    } else if seen.elapsed() > SILENCE {
                        return Err(Cut::Silent(format!("storage did not answer for {SILENCE:?}")));
                    }
                }
                () = output.attempt.lost() => return Err(Cut::Interrupted(Reason::Lost)),
                () = &mut over => return Err(Cut::Interrupted(Reason::Drain)),
                () = sleep_until(deadline) => {
                    return Err(Cut::GivenUp(format!("it took longer than {WHOLE_LIMIT:?}")));
                }
            }
        }
    }

    async fn try_store(&self, output: &Output<'_>, pulse: &Pulse) -> Result<ArtifactTotals, Cut> {
        let run = output.attempt.run;
        let mut staged = within(SILENCE, self.port.stage(run.job.id, &run.fence)).await?;
        let limits = ArtifactLimits { bytes: self.limits.bytes.min(output.bytes), ..self.limits };
        let (folder, signs) = (output.attempt.directory.output(), pulse.clone());
        let collected = spawn_blocking(move || {
            let collected = collect(&folder, &mut *staged, limits, &signs)?;
            Ok::<_, CollectError>((staged, collected))
        });
        let (staged, Collected { list, missed }) = match collected.await {
            Ok(Ok(collected)) => collected,
            Ok(Err(CollectError::Storage(error))) => return Err(Cut::Away(error)),
            Ok(Err(CollectError::Stopped(stopped))) => return Err(Cut::GivenUp(stopped.to_string())),
            Err(error) => return Err(Cut::GivenUp(format!("the thread that collects broke off: {error}"))),
        };
        if list.is_empty() {
            return Ok(ArtifactTotals::default());
        }
        let mut totals = list.totals(String::new());
        totals.digest = within(SILENCE, staged.publish(list.to_json().into())).await?;
        if missed > 0 {
            output
                .log
                .note(&format!("not all of --output is kept: {missed} files are not, see `jobs artifacts`"))
                .await;
        }
        Ok(totals)
    }
}

impl Output<'_> {
    async fn give_up(&self, why: &str) {
        tracing::error!(error = why, "the artifacts of the run could not be stored; its results still count");
        self.log.note(&format!("the files in --output could not be stored: {why}")).await;
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, PortError>>) -> Result<T, Cut> {
    let silent = |_| Cut::Silent(format!("storage did not answer for {limit:?}"));
    timeout(limit, step).await.map_err(silent)?.map_err(Cut::Away)
}
