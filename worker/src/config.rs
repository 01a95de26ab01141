//! What a worker process is told, and the ports it works with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use events::ports::{
    ArtifactPort, DurationsPort, EventLogPort, Ids, JobQueuePort, JobStatusPort, LiveLogPort, LogPort, NudgePort,
    ProgressPort, RecordsPort, StoragePort, TrackingNotesPort, WorkStatePort, WorkersPort,
};
use events::{ClassName, Consumer};

use crate::confinement::Sandbox;
use crate::confinement::job_variables::JobVariables;
use crate::confinement::supervise::process::Graces;
use crate::gpu::Gpus;
use crate::job::artifacts::ArtifactLimits;
use crate::packages::Installer;
use crate::python::Python;
use crate::tracking::TrackingConfig;

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
    /// How long the end of a run waits for storage on another machine that is away. `None` if files are in folders.
    pub storage_budget: Option<Duration>,
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
