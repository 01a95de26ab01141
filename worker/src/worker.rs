//! One worker process, from taking its place to leaving it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use events::policy::LivePolicy;
use events::ports::{
    ArtifactPort, DurationsPort, EventLogPort, Ids, JobQueuePort, JobStatusPort, LiveLogPort, LogPort, NudgePort,
    ProgressPort, RecordsPort, StoragePort, TrackingNotesPort, WorkStatePort, WorkersPort,
};
use events::{ClassName, Consumer};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::confinement::Sandbox;
use crate::confinement::job_variables::JobVariables;
use crate::confinement::supervise::process::Graces;
use crate::gpu::{self, Gpus};
use crate::job::artifacts::ArtifactLimits;
use crate::job::claim;
use crate::packages::Installer;
use crate::python::Python;
use crate::recovery::worker_directory::Station;
use crate::recovery::{crash_recovery, orphans};
use crate::services::fitness;
use crate::services::fitness::Fitness;
use crate::services::{dispatcher, expirer, nudges, presence, reaper, reconciler};
use crate::session::{Session, Settled, Stop};
use crate::tracking::{Tracker, TrackingConfig};
use crate::{observe, tracking};

/// How many nudges may wait for a run to hear them; one that misses some looks at its job.
const NUDGES_WAITING: usize = 64;
/// How long the last word to Redis may take.
const RETIRE_PATIENCE: Duration = Duration::from_secs(2);

/// What one worker process is told.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// This start of this worker: unique, never used again.
    pub consumer: Consumer,
    /// The name of the machine.
    pub host: String,
    /// How many jobs run at once.
    pub slots: usize,
    /// The only resource classes that it serves; empty: all of the policy, as that changes.
    pub classes: Vec<ClassName>,
    /// The interpreter for jobs.
    pub python: Python,
    /// The environment variables that they get from the operator.
    pub variables: JobVariables,
    /// What installs the requirements of submissions; none: they are not looked at.
    pub installer: Option<Installer>,
    /// What confines them.
    pub sandbox: Arc<Sandbox>,
    /// Where jobs have their work directories: local to this machine, shared with its other workers.
    pub work_root: PathBuf,
    /// How often all jobs that have not ended are compared with the work there is.
    pub reconcile_interval: Duration,
    /// How often to delete expired jobs and submissions.
    pub expire_interval: Duration,
    /// How long jobs under way may go on once the worker is asked to stop.
    pub drain_timeout: Duration,
    /// How a program that is to end is told so.
    pub graces: Graces,
    /// The GPUs for jobs.
    pub gpus: Gpus,
    /// How much of what a run left is kept.
    pub artifacts: ArtifactLimits,
    /// How runs are recorded in the tracker; none: they are not.
    pub tracking: Option<TrackingConfig>,
}

/// What a worker asks of the outside world.
#[derive(Clone)]
pub struct Ports {
    /// The log of events, by which all that matters is decided.
    pub log: Arc<dyn EventLogPort>,
    /// Tickets and leases.
    pub queue: Arc<dyn JobQueuePort>,
    /// Who else is there.
    pub workers: Arc<dyn WorkersPort>,
    /// How long runs take, for estimates.
    pub durations: Arc<dyn DurationsPort>,
    /// Hints that a run should look at its job at once.
    pub nudges: Arc<dyn NudgePort>,
    /// Jobs beside the tickets and leases they should have.
    pub work_state: Arc<dyn WorkStatePort>,
    /// Records from the oldest on.
    pub records: Arc<dyn RecordsPort>,
    /// Jobs and submissions as they stand.
    pub status: Arc<dyn JobStatusPort>,
    /// The files of submissions.
    pub storage: Arc<dyn StoragePort>,
    /// What jobs print.
    pub logs: Arc<dyn LogPort>,
    /// What runs leave.
    pub artifacts: Arc<dyn ArtifactPort>,
    /// Where what they print is shown as it comes.
    pub live_log: Arc<dyn LiveLogPort>,
    /// Where is told how far they are.
    pub progress: Arc<dyn ProgressPort>,
    /// Why runs are not in the tracker yet.
    pub tracking_notes: Arc<dyn TrackingNotesPort>,
    /// Fences and chance.
    pub ids: Arc<dyn Ids>,
}

/// Why a worker could not work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its directory can't be used.
    #[error("the work directory {path} can't be used: {source}", path = path.display())]
    WorkRoot {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A worker that has not begun.
pub struct Worker {
    config: WorkerConfig,
    ports: Ports,
    policy: Arc<LivePolicy>,
    fitness: Arc<Fitness>,
}

impl Worker {
    /// A worker by this configuration, over these ports, under this policy.
    #[must_use]
    pub fn new(config: WorkerConfig, ports: Ports, policy: Arc<LivePolicy>) -> Self {
        Self { config, ports, policy, fitness: Arc::default() }
    }

    /// How many jobs it runs at once.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.config.slots
    }

    /// The GPUs that it gives to jobs.
    #[must_use]
    pub fn gpus(&self) -> Gpus {
        self.config.gpus.clone()
    }

    /// Whether it can set jobs up.
    #[must_use]
    pub fn fitness(&self) -> Arc<Fitness> {
        Arc::clone(&self.fitness)
    }

    /// Works until it is asked to stop.
    ///
    /// After `stop` it claims nothing more, lets its jobs finish for the drain timeout, and gives the rest back
    /// without costing them a try. From then on it waits for nothing that does not answer within two seconds, and after
    /// `stop_now`, when it kills and gives back at once, for nothing at all. A Redis that is away never ends it.
    ///
    /// # Errors
    /// If its work directory can't be used.
    pub async fn run(self, stop: CancellationToken, stop_now: CancellationToken) -> Result<(), WorkerError> {
        let Self { config, ports, policy, fitness } = self;
        let name = ports.ids.fence().as_str()[..8].to_owned();
        let station = Station::take(&config.work_root, &name, &config.consumer)
            .map_err(|source| WorkerError::WorkRoot { path: config.work_root.clone(), source })?;
        let session = Arc::new(Session {
            busy: AtomicUsize::new(0),
            nudged: broadcast::Sender::new(NUDGES_WAITING),
            station: station.path().to_owned(),
            tracker: config.tracking.clone().map(|tracking| Arc::new(Tracker::new(tracking))),
            config,
            ports,
            policy,
            fitness,
            stop: Stop { claiming: stop, running: stop_now.child_token(), waiting: stop_now },
        });
        let WorkerConfig { gpus, sandbox, python, .. } = &session.config;
        if let Err(error) = orphans::adopt() {
            tracing::warn!(%error, "processes of a job that kills its supervisor may not be found");
        }
        observe::confined(&sandbox.to_string());
        gpus.try_out(sandbox, python, &session.station).await;
        let dispatcher = AbortOnDropHandle::new(tokio::spawn(dispatcher::run(Arc::clone(&session))));
        let reaper = AbortOnDropHandle::new(tokio::spawn(reaper::run(Arc::clone(&session))));
        let reconciler = AbortOnDropHandle::new(tokio::spawn(reconciler::run(Arc::clone(&session))));
        let expirer = AbortOnDropHandle::new(tokio::spawn(expirer::run(Arc::clone(&session))));
        let presence = AbortOnDropHandle::new(tokio::spawn(presence::run(Arc::clone(&session))));
        let tracker = AbortOnDropHandle::new(tokio::spawn(tracking::run(Arc::clone(&session))));
        let nudges = AbortOnDropHandle::new(tokio::spawn(nudges::run(Arc::clone(&session))));
        let watched = gpu::watch(session.config.gpus.clone(), session.config.host.clone());
        let gpu_watch = AbortOnDropHandle::new(tokio::spawn(watched));
        let self_test = AbortOnDropHandle::new(tokio::spawn(fitness::run(Arc::clone(&session))));
        let inherited = tokio::select! {
            inherited = crash_recovery::take_over(&session) => Some(inherited),
            () = session.stop.begun() => None,
        };
        let settled = match inherited {
            Some(inherited) => claim::run(&session, inherited).await,
            None => Settled::No,
        };
        drop((dispatcher, reaper, reconciler, expirer, tracker, nudges, presence, gpu_watch, self_test));
        leave(&session, station, settled).await;
        Ok(())
    }
}

/// Leaves nothing behind, unless tickets are left: then the station stays for the next worker here to take over.
async fn leave(session: &Session, station: Station, settled: Settled) {
    let consumer = &session.config.consumer;
    let classes = session.all_classes();
    let retired = timeout(RETIRE_PATIENCE, async {
        session.ports.workers.withdraw(consumer).await?;
        session.ports.queue.retire(consumer, &classes).await
    });
    let retired = retired.await;
    if settled == Settled::No || !matches!(retired, Ok(Ok(()))) {
        tracing::warn!(%consumer, "tickets may be left; the next worker here takes them over");
        return;
    }
    if let Err(error) = station.close() {
        tracing::warn!(%consumer, %error, "the worker's own directory could not be removed");
    }
}
