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

mod artifacts;
mod census;
mod claims;
mod dispatcher;
mod execution;
mod expirer;
mod file_lock;
mod fitness;
mod folder;
mod gpu;
mod heartbeat;
mod held;
mod interrupt;
mod job_log;
mod job_variables;
mod judge;
mod leftovers;
mod limits;
mod live_log;
mod machine_folder;
mod mark;
mod metrics_file;
mod nudges;
mod observe;
mod oom;
mod outage;
mod output;
mod pipeline;
mod platform_fault;
mod predecessors;
mod presence;
mod process;
mod procfs;
mod program;
mod progress;
mod python;
mod reaper;
mod reconciler;
mod record;
mod remove_tree;
mod requirements;
mod run_directory;
pub mod sandbox;
mod session;
mod stage;
mod start;
mod station;
mod steady;
mod strays;
mod tracking;
mod vitals;
mod worker;

pub use artifacts::ArtifactLimits;
pub use expirer::{Expirer, ExpirerPorts, JobFiles, Removed, remove_job};
pub use fitness::Fitness;
pub use folder::{make_all_passable, open_up};
pub use gpu::{Choice, GpuOptions, Gpus, Selection};
pub use job_variables::{CACHE_ROOT, DATASET_ROOT, JobVariables, JobVariablesError};
pub use predecessors::clear_leftovers;
pub use process::Graces;
pub use python::{Imports, Python, PythonError};
pub use reconciler::{Reconciler, ReconcilerPorts, Walk};
pub use requirements::{Installer, InstallerError, InstallerOptions, RequirementsMode};
pub use sandbox::{Answer, Attempt, Level, Network, Reach, Sandbox, SandboxError, SandboxOptions, Targets, Unseen};
pub use tracking::TrackingConfig;
pub use worker::{Ports, Worker, WorkerConfig, WorkerError};
