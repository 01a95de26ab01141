//! How jobs are to be confined, and why that may be impossible.

use std::path::PathBuf;

use events::ports::DiskReserve;

use super::{Level, Network};

/// How jobs are to be confined.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// What must hold before any job may run.
    pub level: Level,
    /// What network jobs have.
    pub network: Network,
    /// Folders of data that jobs may read, at the same path.
    pub data: Vec<PathBuf>,
    /// The home of the worker's user, where that is not the one of the user database.
    pub home: Option<PathBuf>,
    /// Folders that no job may ever see.
    pub secrets: Vec<PathBuf>,
    /// What must stay free of the disk that jobs write to.
    pub disk_reserve: DiskReserve,
    /// How much of what the machine can do is used.
    pub reach: Reach,
}

/// How much of what the machine can do is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    Full,
    /// What works everywhere, with the oldest Landlock there is in use: for tests of that.
    Floor,
}

/// Why no job can be confined as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// This machine can't, for this reason; the text names the cure.
    #[error("jobs can't be confined here, so this worker runs none: {0}")]
    Impossible(String),
    /// The users that jobs run as can't enter a folder that they need.
    #[error(
        "jobs can't be confined here, so this worker runs none: they run as users of their own, who can't enter {folder} \
         (mode {mode:04o}) on the way to {path}. Open it by `chmod o+x {folder}`, or set {variable} to a path that every user can reach",
        folder = folder.display(),
        path = path.display()
    )]
    Closed {
        /// The folder.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
        /// What jobs need.
        path: PathBuf,
        /// The setting that names it.
        variable: &'static str,
    },
    /// More was asked for than the machine can do.
    #[error("SANDBOX=strict needs {0}; SANDBOX=standard does without")]
    NotStrict(String),
    /// Jobs would see what they must not.
    #[error("{secret} lies in {folder}, which jobs can read: move it elsewhere", secret = secret.display(), folder = folder.display())]
    Revealing {
        /// What they would see.
        secret: PathBuf,
        /// Where.
        folder: PathBuf,
    },
    /// A loopback interface needs a network namespace.
    #[error("NETWORK=loopback needs namespaces, which can't be had here ({0}); NETWORK=none works")]
    NoLoopback(String),
}
