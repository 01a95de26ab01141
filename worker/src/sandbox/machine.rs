//! What this machine can do to confine a job, found out by doing it once at the worker's start.

use std::fmt;
use std::path::{Path, PathBuf};

use super::identities::Identities;
use super::sight::{Sight, Unseen};
use super::{Level, Network, landlock};
use crate::census::Counter;
use crate::limits::{self, Bounds, Limiter};
use crate::python::Python;

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
    pub(super) sight: Sight,
    pub(super) landlock: i32,
    pub(super) network: Network,
    pub(super) identities: Option<Identities>,
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
            sight: Sight::of(options, python, work_root)?,
            landlock,
            network: options.network,
            identities: is_root.then(Identities::available).flatten(),
            limiter,
            share_bytes: limits::machine_memory() / 10 * 9 / slots.max(1) as u64,
            counter: Counter::default(),
        };
        if options.level == Level::Off {
            sandbox.identities = None;
            // Everything can be read, but for what a home of its own hides.
            sandbox.sight.unseen.retain(|one| Some(&one.path) == python.imports.of_user.as_ref());
            return Ok(sandbox);
        }
        if landlock == 0 {
            return Err(SandboxError::Impossible("this kernel has no Landlock (Linux 5.13 or newer has)".to_owned()));
        }
        if is_root && sandbox.identities.is_none() {
            let why = "the worker is root, and there are no users 61184 to 65519 here to run jobs as";
            return Err(SandboxError::Impossible(why.to_owned()));
        }
        let not_full = match options.reach {
            Reach::Floor => "they are not to be used".to_owned(),
            Reach::Full => {
                sandbox.applied = Applied::Full;
                match sandbox.try_out(python, work_root).await {
                    Ok(()) => {
                        return Ok(sandbox.strict_enough(options.level)?.looked(options, python, work_root).await);
                    }
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
            tracing::warn!(
                "jobs run as the worker's own user and without namespaces: whatever trusts that user by its socket, they \
                 can use; docs/sandbox.md tells more"
            );
        }
        Ok(sandbox.looked(options, python, work_root).await)
    }

    /// What the interpreter imports from and jobs can't see.
    #[must_use]
    pub fn unseen(&self) -> &[Unseen] {
        &self.sight.unseen
    }

    /// Looks at data and imports as a job sees them, and says what it can't see.
    async fn looked(mut self, options: &SandboxOptions, python: &Python, work_root: &Path) -> Self {
        let imports = [&python.imports.path, &python.imports.whole].into_iter().flatten();
        let paths: Vec<&Path> = options.data.iter().chain(imports).map(PathBuf::as_path).collect();
        let unseen = self.look(python, work_root, &paths).await.unwrap_or_else(|error| {
            tracing::warn!(error, "what jobs can read could not be looked at");
            vec![]
        });
        for one in unseen {
            self.sight.found_unseen(one);
        }
        for Unseen { path, why } in &self.sight.unseen {
            tracing::warn!(path = %path.display(), why, "jobs can't read this");
        }
        self
    }

    /// What network jobs have.
    pub(crate) const fn network(&self) -> Network {
        match self.applied {
            Applied::Off => Network::Host,
            Applied::Floor | Applied::Full => self.network,
        }
    }

    /// Removes what holds the runs of a worker of this name that is dead.
    pub(crate) fn sweep(&self, scope: &str) {
        self.limiter.sweep(scope);
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
        write!(f, "{reach} landlock={} seccomp user={user} memory={memory} network={network}", self.landlock)
    }
}
