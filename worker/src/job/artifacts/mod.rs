//! Keeping what a run left: once nothing of it is alive, before its end is recorded.
//!
//! `survey` finds what there is, `collect` copies it on a thread of its own, and [`Keeper`] watches that thread, for the
//! run's sign of life and for what may cut it short. Whatever becomes of its files, a run's results count.

mod collect;
mod life;
mod survey;

use std::path::Path;
use std::time::Duration;

use events::artifacts::MAX_FILES;
use events::job::ArtifactTotals;
use events::ports::PortError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval, sleep_until, timeout};

use crate::job::interrupt::{Interrupt, Reason};
use crate::job::judge::{Outcome, stopped};
use crate::job::life::Report;
use crate::job::stage_watchdog::Vitals;
use crate::job::start::Run;
use crate::log::job_log::JobLog;
use crate::outage::Outage;
use crate::session::Session;

use collect::{CollectError, Collected, collect};
use life::Life;

/// How long storing may show no sign of life, and how long one of its two ends may take.
const SILENCE: Duration = Duration::from_mins(5);
/// How long it may take in all.
const WHOLE_LIMIT: Duration = Duration::from_hours(2);
/// How long storage may be away.
const PATIENCE: Duration = Duration::from_mins(10);
/// The same for a run that failed.
const FAILED_PATIENCE: Duration = Duration::from_secs(10);
/// How long removing the run's directory may take, which follows.
const CLEARING_LIMIT: Duration = Duration::from_mins(30);
/// How often to check for a sign of life.
const LOOK: Duration = Duration::from_secs(1);

/// How much of what a run left is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// How many files.
    pub files: usize,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        Self { bytes: 5 << 30, files: MAX_FILES }
    }
}

/// Keeps what one run left.
pub(crate) struct Keeper<'a> {
    pub(crate) session: &'a Session,
    pub(crate) run: &'a Run,
    pub(crate) output: &'a Path,
    /// All that the run may write: no more than this is kept either.
    pub(crate) output_bytes: u64,
    pub(crate) log: &'a JobLog,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) vitals: &'a Vitals,
}

/// Why nothing is kept.
enum Cut {
    /// Another run is the job's by now, or the worker is to wait no longer.
    Interrupted(Reason),
    /// It can't be done.
    GivenUp(String),
    /// Storage is away; it may come back.
    Away(PortError),
}

impl Keeper<'_> {
    /// Keeps what a run left that ended by itself, completed or failed, and notes it in the report.
    pub(crate) async fn keep(&self, mut report: Report) -> Report {
        let patience = match report.outcome {
            Outcome::Completed(_) => PATIENCE,
            // Its files may be what fills the disk.
            Outcome::Failed(_) => FAILED_PATIENCE,
            Outcome::Cancelled | Outcome::GivenBack(..) | Outcome::Lost => return report,
        };
        let began = Instant::now();
        match self.store(patience).await {
            Ok(totals) => {
                let (files, bytes, seconds) = (totals.count, totals.bytes, began.elapsed().as_secs_f64());
                tracing::info!(files, bytes, seconds, "stored the artifacts of the run");
                report.artifacts = totals;
            }
            Err(Cut::Interrupted(reason)) => report.outcome = stopped(reason),
            Err(Cut::GivenUp(why)) => self.give_up(&why).await,
            Err(Cut::Away(error)) => self.give_up(&error.to_string()).await,
        }
        self.vitals.enter("clearing up", CLEARING_LIMIT);
        report
    }

    async fn give_up(&self, why: &str) {
        tracing::error!(error = why, "the artifacts of the run could not be stored; its results still count");
        self.log.note(&format!("the files in --output could not be stored: {why}")).await;
    }

    /// Tries until storage works, or was away for too long.
    async fn store(&self, patience: Duration) -> Result<ArtifactTotals, Cut> {
        let deadline = Instant::now() + WHOLE_LIMIT;
        let patience = Instant::now() + patience;
        let mut outage = Outage::of("storing artifacts");
        loop {
            let life = Life::default();
            // Whatever cuts this short ends the thread too.
            let _stop = life.stop.clone().drop_guard();
            match self.watch(self.try_store(&life), &life, deadline).await {
                Err(Cut::Away(error)) if Instant::now() < patience => {
                    self.vitals.enter("storing artifacts", SILENCE);
                    tokio::select! {
                        () = outage.pause(&error, self.session.ports.ids.jitter()) => {}
                        () = self.session.stop.patience_is_over() => return Err(Cut::Interrupted(Reason::Drain)),
                    }
                }
                done => {
                    outage.over();
                    return done;
                }
            }
        }
    }

    /// Lets `work` go on for as long as it shows signs of life and is of use.
    async fn watch(
        &self,
        work: impl Future<Output = Result<ArtifactTotals, Cut>>,
        life: &Life,
        deadline: Instant,
    ) -> Result<ArtifactTotals, Cut> {
        let mut work = std::pin::pin!(work);
        let mut over = std::pin::pin!(self.session.stop.patience_is_over());
        let mut looks = interval(LOOK);
        let (mut signs, mut seen) = (0, Instant::now());
        self.vitals.enter("storing artifacts", SILENCE);
        loop {
            self.vitals.show(life.stage());
            tokio::select! {
                done = &mut work => return done,
                _ = looks.tick() => {
                    let now = life.signs();
                    if now != signs {
                        (signs, seen) = (now, Instant::now());
                        self.vitals.enter("storing artifacts", SILENCE);
                    } else if seen.elapsed() > SILENCE {
                        return Err(Cut::GivenUp(format!("storage did not answer for {SILENCE:?}")));
                    }
                }
                () = self.lost() => return Err(Cut::Interrupted(Reason::Lost)),
                () = &mut over => return Err(Cut::Interrupted(Reason::Drain)),
                () = sleep_until(deadline) => {
                    return Err(Cut::GivenUp(format!("it took longer than {WHOLE_LIMIT:?}")));
                }
            }
        }
    }

    /// Waits until another run is the job's. Who asks for the end of a run that has ended comes too late, and a worker
    /// that is to stop finishes what is as good as done, within its drain timeout.
    async fn lost(&self) {
        if self.interrupt.raised().await != Reason::Lost {
            std::future::pending::<()>().await;
        }
    }

    async fn try_store(&self, life: &Life) -> Result<ArtifactTotals, Cut> {
        let (port, job) = (&self.session.ports.artifacts, self.run.job.id);
        let mut staged = within(SILENCE, port.stage(job, &self.run.fence)).await?;
        let limits = self.session.config.artifacts;
        let limits = ArtifactLimits { bytes: limits.bytes.min(self.output_bytes), ..limits };
        let (output, signs) = (self.output.to_owned(), life.clone());
        let collected = spawn_blocking(move || {
            let collected = collect(&output, &mut *staged, limits, &signs)?;
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
            self.log.note(&format!("not all of --output is kept: {missed} files are not, see `jobs artifacts`")).await;
        }
        Ok(totals)
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, PortError>>) -> Result<T, Cut> {
    let silent = |_| Cut::GivenUp(format!("storage did not answer for {limit:?}"));
    timeout(limit, step).await.map_err(silent)?.map_err(Cut::Away)
}

/// A size in words: whole GiB or MiB where it is, else bytes.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20)];
    let unit = units.into_iter().find(|(_, power)| bytes > 0 && bytes.trailing_zeros() >= *power);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, power)| format!("{} {unit}", bytes >> power))
}
