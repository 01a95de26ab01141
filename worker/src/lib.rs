//! The worker: claims tickets, runs each job's program, watches it, and records its end.
//!
//! [`Worker::run`] is the way in. `job/life.rs` shows the life of one job on one page: start, prepare, execute, judge,
//! collect, record. `job/claim.rs` claims the tickets for it. `services` run beside the jobs, and `recovery` settles
//! what dead workers under the same work root left. The work root belongs to one machine. `assembly` gives each of
//! these parts the ports it names.
//!
//! A job's program sees no token, no address and no fence: `confinement/program.rs` lists all that it sees.

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
pub use services::fitness::{Fitness, Unfit};
pub use services::reconciler::{Reconciler, ReconcilerPorts, Walk};
pub use tracking::TrackingConfig;
pub use worker::{Worker, WorkerError};
