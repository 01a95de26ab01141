//! The program of a job runs below a supervisor: this same binary, run again as `leadersboard __sandbox`.
//!
//! The supervisor is the reaper of all that the program starts, however often it forks and whichever session it moves
//! to, so the whole tree can be signalled, and it is known when it is empty. It lives exactly as long as the tree, and
//! the tree no longer than the worker: when the worker's end of the control socket closes, however that comes about,
//! the tree is killed. Between its fork and its first instruction the program gives up all that it is not to have:
//! `launch` is the order of it. The *floor* works for any user and in a container; where the machine allows it, the
//! program is *fully* confined: the supervisor is then the first process of namespaces of their own (`namespaces`).
//!
//! On the control socket, which is the supervisor's stdin, the worker sends a [`Spec`] and then [`Order`]s, the
//! supervisor [`SupervisorReport`]s; each is a line of JSON. In the worker, [`Sandbox`] knows what this machine can do.

mod attempts;
pub(crate) mod confine;
pub(crate) mod floor;
pub(crate) mod full;
pub(crate) mod job_variables;
mod level;
pub(crate) mod limits;
mod options;
mod probe;
pub(crate) mod program;
pub(crate) mod run_directory;
pub(crate) mod runner;
mod sandbox;
mod sight;
pub(crate) mod supervise;
mod turn;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use attempts::{Answer, Attempt, Targets};
pub(crate) use confine::{Confinement, Needs};
pub(crate) use floor::privileges::{Identity, ProcessLimits};
pub(crate) use full::view::{SHARED_MEMORY, View};
pub use level::{Level, Network, UnknownWord};
pub use options::{Reach, SandboxError, SandboxOptions};
pub(crate) use probe::Probe;
pub use sandbox::Sandbox;
pub use sight::Unseen;
pub(crate) use supervise::supervisor::KILLED as SUPERVISOR_KILLED;
pub use supervise::supervisor::supervise;
pub(crate) use turn::Turn;

/// The hidden command under which the binary becomes the supervisor.
pub const COMMAND: &str = "__sandbox";

/// What is run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) isolation: Isolation,
    /// Who it runs as; none: as who the worker is.
    pub(crate) identity: Option<Identity>,
    pub(crate) limits: ProcessLimits,
    /// What each of its processes bears, by [`Mark::limit`](crate::confinement::supervise::mark::Mark::limit).
    pub(crate) mark: u64,
    /// The files of control groups in which it is entered.
    pub(crate) groups: Vec<PathBuf>,
}

/// How far a program is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Isolation {
    /// Not at all.
    Off,
    /// By what any user can do anywhere.
    Floor(View),
    /// Also by namespaces.
    Full(View),
}

/// What the worker asks for: a signal to the whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL, until the tree is empty.
    Kill,
}

/// What the supervisor tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SupervisorReport {
    /// The program runs.
    Started,
    /// The program could not be started, for this reason.
    NotStarted(String),
    /// The program has ended; what it left is being killed.
    Exited {
        /// As `wait` gives it.
        status: i32,
        /// Whether an order had come before.
        ordered: bool,
    },
    /// Nothing of it is left. The last report.
    Empty,
}
