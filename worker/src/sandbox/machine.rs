//! What this machine can do to confine a job, found out by doing it once at the worker's start.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cell::Cell;
use super::identities::Identities;
use super::turn::{Turn, Turns};
use super::view::{ETC, SYSTEM, reveals};
use super::{Level, Network, landlock};
use crate::census::Counter;
use crate::limits::{self, Bounds, Limiter};
use crate::machine_folder::machine_folder;
use crate::python::Python;

/// How jobs are to be confined.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// What must hold before any job may run.
    pub level: Level,
    /// What network jobs have.
    pub network: Network,
    /// A folder of data that jobs may read, at the same path.
    pub datasets: Option<PathBuf>,
    /// Folders that no job may ever see.
    pub secrets: Vec<PathBuf>,
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
    /// The kernel can't.
    #[error(
        "jobs can't be confined here, so none is run: {0}; SANDBOX=off runs them unconfined, for code that you trust"
    )]
    Impossible(String),
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

/// How jobs are confined on this machine.
#[derive(Debug)]
pub struct Sandbox {
    pub(super) applied: Applied,
    pub(super) readable: Vec<PathBuf>,
    pub(super) landlock: i32,
    pub(super) network: Network,
    pub(super) identities: Option<Identities>,
    /// The turns of this worker, if its jobs must not run beside others of its user.
    pub(super) turns: Option<Arc<Turns>>,
    pub(super) limiter: Box<dyn Limiter>,
    pub(super) share_bytes: u64,
    pub(crate) counter: Counter,
}

/// How far jobs are confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    Off,
    Floor,
    Full,
}

/// The oldest version of Landlock that is in use: Debian 12's.
const OLDEST_LANDLOCK: i32 = 2;

impl Sandbox {
    /// Finds out what this machine can do. `scope` is the worker's name, and `slots` how many jobs it runs at once.
    ///
    /// # Errors
    /// If it can't do what must hold.
    pub async fn prepare(
        options: &SandboxOptions,
        python: &Python,
        work_root: &Path,
        scope: &str,
        slots: usize,
    ) -> Result<Self, SandboxError> {
        let is_root = nix::unistd::geteuid().is_root();
        let landlock = match options.reach {
            Reach::Full => landlock::version(),
            Reach::Floor => landlock::version().min(OLDEST_LANDLOCK),
        };
        let limiter = match options.reach {
            Reach::Full => limits::best(scope),
            Reach::Floor => limits::watchdog(),
        };
        let mut sandbox = Self {
            applied: Applied::Off,
            readable: readable(options, python, work_root)?,
            landlock,
            network: options.network,
            identities: None,
            turns: None,
            limiter,
            share_bytes: share(slots),
            counter: Counter::default(),
        };
        if options.level == Level::Off {
            return Ok(sandbox);
        }
        if landlock == 0 {
            return Err(SandboxError::Impossible("this kernel has no Landlock (Linux 5.13 or newer has)".to_owned()));
        }
        if is_root {
            let why = |error| SandboxError::Impossible(format!("the worker is root, and {error}"));
            sandbox.identities = Some(Identities::available(&sandbox.machine_folder()?).map_err(why)?);
        }
        let not_full = match options.reach {
            Reach::Floor => "they are not to be used".to_owned(),
            Reach::Full => {
                sandbox.applied = Applied::Full;
                match sandbox.try_out(python, work_root).await {
                    Ok(()) => return sandbox.strict_enough(options.level),
                    Err(reason) => reason,
                }
            }
        };
        match (options.level, options.network) {
            (Level::Strict, _) => return Err(SandboxError::NotStrict(format!("namespaces ({not_full})"))),
            (_, Network::Loopback) => return Err(SandboxError::NoLoopback(not_full)),
            _ => tracing::info!(reason = not_full, "jobs have no namespaces of their own"),
        }
        sandbox.applied = Applied::Floor;
        sandbox.try_out(python, work_root).await.map_err(SandboxError::Impossible)?;
        if sandbox.identities.is_none() {
            sandbox.turns = Some(Turns::new(&sandbox.machine_folder()?, scope));
            sandbox.share_bytes = share(1);
            tracing::warn!(
                wanted_slots = slots,
                "one job runs at a time: jobs run as the worker's own user and without namespaces, so they could reach \
                 each other's shared memory, and whatever trusts that user by its socket. Run the worker as root or \
                 allow user namespaces; docs/sandbox.md tells more"
            );
        }
        Ok(sandbox)
    }

    /// How many of so many slots can be used at once.
    #[must_use]
    pub fn usable_slots(&self, slots: usize) -> usize {
        if self.turns.is_some() { slots.min(1) } else { slots }
    }

    /// Waits until a job may run beside those that run on this machine. To be held while it runs.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        match &self.turns {
            Some(turns) => Some(turns.next().await),
            None => None,
        }
    }

    /// Lets go of what a run had if something of it may be left: nobody gets its user or its turn before that is gone.
    pub(crate) fn abandon(&self, cell: Cell) {
        std::mem::forget(cell.identity);
        if let Some(turns) = &self.turns {
            turns.leave_something();
        }
    }

    /// Removes what holds the runs of a worker of this name that is dead, and what they left in shared memory.
    pub(crate) fn sweep(&self, scope: &str) {
        self.limiter.sweep(scope);
        if let Some(identities) = &self.identities {
            identities.sweep_shared_memory();
        }
    }

    /// The folder of the locks that the workers of this machine share.
    fn machine_folder(&self) -> Result<PathBuf, SandboxError> {
        let folder = machine_folder().map_err(|error| SandboxError::Impossible(error.to_string()))?;
        match reveals(&self.readable, &folder) {
            Some(shown) => Err(SandboxError::Revealing { folder: shown.to_owned(), secret: folder }),
            None => Ok(folder),
        }
    }

    fn strict_enough(self, level: Level) -> Result<Self, SandboxError> {
        if level == Level::Strict && self.limiter.bounds() == Bounds::Worker {
            return Err(SandboxError::NotStrict("a control group for memory that the worker may use".to_owned()));
        }
        Ok(self)
    }
}

/// What was applied, as events and people are told: `full landlock=7 seccomp user=own memory=cgroup_v1 network=none`.
impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reach = match self.applied {
            Applied::Off => return write!(f, "off memory={}", self.limiter.name()),
            Applied::Floor => "floor",
            Applied::Full => "full",
        };
        let user = if self.identities.is_some() { "own" } else { "worker" };
        let (memory, network) = (self.limiter.name(), self.network);
        write!(f, "{reach} landlock={} seccomp user={user} memory={memory} network={network}", self.landlock)?;
        if self.turns.is_some() { f.write_str(" jobs=one_at_a_time") } else { Ok(()) }
    }
}

/// The memory of a job whose class names none, in bytes.
fn share(slots: usize) -> u64 {
    limits::machine_memory() / 10 * 9 / slots.max(1) as u64
}

/// What jobs may read: the system, the interpreter, the data.
fn readable(options: &SandboxOptions, python: &Python, work_root: &Path) -> Result<Vec<PathBuf>, SandboxError> {
    let mut readable: Vec<PathBuf> = SYSTEM.iter().chain(ETC).map(PathBuf::from).filter(|path| path.exists()).collect();
    let secrets: Vec<&Path> = options.secrets.iter().map(PathBuf::as_path).chain([work_root]).collect();
    // Much is kept there, and programs seldom need any of it.
    if secrets.iter().any(|secret| secret.starts_with("/opt")) {
        readable.retain(|folder| folder != Path::new("/opt"));
    }
    for folder in python.folders.iter().chain(&options.datasets) {
        if !readable.iter().any(|known| folder.starts_with(known)) {
            readable.push(folder.clone());
        }
    }
    for secret in secrets {
        if let Some(folder) = reveals(&readable, secret) {
            return Err(SandboxError::Revealing { secret: secret.to_owned(), folder: folder.to_owned() });
        }
    }
    Ok(readable)
}
