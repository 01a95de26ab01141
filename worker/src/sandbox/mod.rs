//! The program of a job runs below a supervisor: this same binary, run again as `leadersboard __sandbox`.
//!
//! The supervisor is the reaper of all that the program starts, however often it forks and whichever session it moves
//! to, so the whole tree can be signalled, and it is known when it is empty. It lives exactly as long as the tree, and
//! the tree no longer than the worker: when the worker's end of the control socket closes, however that comes about,
//! the tree is killed. Nothing is confined so far.
//!
//! On the control socket, which is the supervisor's stdin, the worker sends a [`Spec`] and then [`Order`]s, the
//! supervisor [`Report`]s; each is a line of JSON.

mod descendants;
mod supervisor;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use supervisor::supervise;

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
pub(crate) enum Report {
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
