//! The worker: claims tickets, runs each job's program and watches over it, records its end.
//!
//! [`Worker::run`] is the way in. From there `claims` fills the slots, `start` turns a ticket into a run, `pipeline`
//! takes that run from its files to its outcome while `heartbeat` keeps its lease, `artifacts` keeps what it left, and
//! `record` commits the outcome.
//! Beside them `dispatcher` hands out tickets for retries that are due, `reaper` ends the leases of workers that fell
//! silent, `reconciler` puts right what no other part can, `expirer` removes what was kept for long enough, and `predecessors` settles, once at the start, what earlier
//! processes under the same work root left behind. The work root is one machine's own.
//!
//! A job's program sees no token, no address and no fence: `program` lists all that it does see.

mod assembly;
mod commands;
mod config;
pub mod confinement;
mod gpu;
mod job;
mod log;
mod machine;
mod observe;
mod outage;
mod packages;
mod progress;
mod python;
mod recovery;
mod served_classes;
mod services;
mod stop;
mod tracking;
mod worker;

pub use config::{Ports, WorkerConfig};
pub use confinement::job_variables::{CACHE_ROOT, DATASET_ROOT, JobVariables, JobVariablesError};
pub use confinement::supervise::process::Graces;
pub use confinement::{Answer, Attempt, Level, Network, Reach, Sandbox, SandboxError, SandboxOptions, Targets, Unseen};
pub use gpu::{Choice, GpuOptions, Gpus, Selection};
pub use job::artifacts::ArtifactLimits;
pub use machine::folder::{make_all_passable, open_up};
pub use packages::{Installer, InstallerError, InstallerOptions, RequirementsMode};
pub use python::{Imports, Python, PythonError};
pub use recovery::crash_recovery::clear_leftovers;
pub use services::expirer::{Expirer, ExpirerPorts, JobFiles, Removed, remove_job};
pub use services::fitness::Fitness;
pub use services::reconciler::{Reconciler, ReconcilerPorts, Walk};
pub use tracking::TrackingConfig;
pub use worker::{Worker, WorkerError};
