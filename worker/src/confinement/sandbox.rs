//! What this machine can do to confine a job, found out by doing it once at the worker's start.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::{Reach, SandboxError, SandboxOptions};
use super::sight::{Sight, Unseen};
use super::turn::{Turn, Turns};
use super::{Level, Network};
use crate::confinement::floor::landlock;
use crate::confinement::full::identities::Identities;
use crate::confinement::full::view::reveals;
use crate::confinement::limits;
use crate::confinement::limits::{Bounds, Limiter, SharedDisk};
use crate::machine::process_snapshot::Counter;
use crate::machine::procfs;
use crate::machine::shared_folder::machine_folder;
use crate::python::Python;

/// How jobs are confined on this machine.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) applied: Applied,
    pub(crate) sight: Sight,
    pub(crate) landlock: i32,
    pub(crate) network: Network,
    pub(crate) identities: Option<Identities>,
    /// The turns of this worker, if its jobs must not run beside others of its user.
    pub(crate) turns: Option<Arc<Turns>>,
    pub(crate) limiter: Box<dyn Limiter>,
    pub(crate) share_bytes: u64,
    pub(crate) counter: Counter,
    pub(crate) disk: Arc<SharedDisk>,
}

/// How far jobs are confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Off,
    Floor,
    Full,
}

/// The result of a try with namespaces.
enum Reached {
    Full(Sandbox),
    /// Why they can't be used.
    Not(Sandbox, String),
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
        let sandbox = Self::unconfined(options, python, work_root, scope, slots)?;
        if options.level == Level::Off {
            return Ok(sandbox.seeing_all_but_a_users_home(python));
        }
        let sandbox = sandbox.with_what_every_level_needs()?;
        let confined = match sandbox.fully(options, python, work_root).await {
            Reached::Full(sandbox) => sandbox.strict_enough(options.level)?,
            Reached::Not(sandbox, reason) => {
                may_be_the_floor(options, reason)?;
                sandbox.at_the_floor(python, work_root, scope, slots).await?
            }
        };
        Ok(confined.looked(options, python, work_root).await)
    }

    /// What an unconfined job gets on this machine, from which each level starts.
    fn unconfined(
        options: &SandboxOptions,
        python: &Python,
        work_root: &Path,
        scope: &str,
        slots: usize,
    ) -> Result<Self, SandboxError> {
        let (landlock, limiter) = match options.reach {
            Reach::Full => (landlock::version(), limits::best(scope)),
            Reach::Floor => (landlock::version().min(OLDEST_LANDLOCK), limits::watchdog()),
        };
        Ok(Self {
            applied: Applied::Off,
            sight: Sight::of(options, python, work_root)?,
            landlock,
            network: options.network,
            identities: None,
            turns: None,
            limiter,
            share_bytes: share(slots),
            counter: Counter::default(),
            disk: SharedDisk::new(options.disk_reserve),
        })
    }

    /// Without confinement a job reads everything except what a home of its own hides.
    fn seeing_all_but_a_users_home(mut self, python: &Python) -> Self {
        self.sight.unseen.retain(|one| Some(&one.path) == python.imports.of_user.as_ref());
        self
    }

    /// Landlock, and for root users of their own for jobs.
    fn with_what_every_level_needs(mut self) -> Result<Self, SandboxError> {
        if self.landlock == 0 {
            let why = "this kernel has no Landlock. Use Linux 5.13 or newer with `landlock` in \
                       /sys/kernel/security/lsm. For code that you trust, SANDBOX=off runs jobs unconfined";
            return Err(SandboxError::Impossible(why.to_owned()));
        }
        if nix::unistd::geteuid().is_root() {
            let why = |error| SandboxError::Impossible(format!("the worker is root, and {error}"));
            self.identities = Some(Identities::available(&self.machine_folder()?).map_err(why)?);
        }
        Ok(self)
    }

    /// Tries namespaces of a job's own.
    async fn fully(mut self, options: &SandboxOptions, python: &Python, work_root: &Path) -> Reached {
        if options.reach == Reach::Floor {
            return Reached::Not(self, "they are not to be used".to_owned());
        }
        self.applied = Applied::Full;
        match self.try_out(python, work_root).await {
            Ok(()) => Reached::Full(self),
            Err(reason) => Reached::Not(self, reason),
        }
    }

    /// Confines jobs without namespaces; if they share the worker's user, they run one at a time.
    async fn at_the_floor(
        mut self,
        python: &Python,
        work_root: &Path,
        scope: &str,
        slots: usize,
    ) -> Result<Self, SandboxError> {
        if procfs::hides_processes() {
            let why = "/proc is mounted with hidepid, so processes of a job could hide from the worker; mount it without, \
                       or with the gid of a group of the worker's user";
            return Err(SandboxError::Impossible(why.to_owned()));
        }
        self.applied = Applied::Floor;
        if let Err(reason) = self.try_out(python, work_root).await {
            return Err(self.explain(&reason, python, work_root));
        }
        if self.identities.is_none() {
            self.turns = Some(Turns::new(&self.machine_folder()?, work_root, scope));
            self.share_bytes = share(1);
            tracing::warn!(
                wanted_slots = slots,
                "one job runs at a time: jobs run as the worker's own user and without namespaces, so they could reach \
                 each other's shared memory, and whatever trusts that user by its socket. Run the worker as root or \
                 allow user namespaces; docs/sandbox.md tells more"
            );
        }
        Ok(self)
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
            tracing::warn!(error, "could not check what jobs can read");
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

    /// How many of so many slots can be used at once.
    #[must_use]
    pub fn usable_slots(&self, slots: usize) -> usize {
        if self.turns.is_some() { slots.min(1) } else { slots }
    }

    /// Waits until a job may run beside those that run on this machine. To be held while it runs. Tells why that is
    /// impossible, and `None` once it is possible again.
    pub(crate) async fn turn(&self, tell: impl Fn(Option<String>)) -> Option<Turn> {
        match &self.turns {
            Some(turns) => Some(turns.next(tell).await),
            None => None,
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
        match reveals(&self.sight.readable, &folder) {
            Some(shown) => Err(SandboxError::Revealing { folder: shown.to_owned(), secret: folder }),
            None => Ok(folder),
        }
    }

    /// Why the interpreter did not run in a directory of its own, and the cure.
    fn explain(&self, reason: &str, python: &Python, work_root: &Path) -> SandboxError {
        let needed = [("WORK_ROOT", work_root), ("JOB_PYTHON", &python.path)].into_iter();
        let needed = needed.chain(python.folders.iter().map(|folder| ("JOB_PYTHON", folder.as_path())));
        let closed = needed.filter_map(|(variable, path)| {
            let (folder, mode) = closed_folder(path)?;
            Some(SandboxError::Closed { folder, mode, path: path.to_owned(), variable })
        });
        closed.take(usize::from(self.identities.is_some())).next().unwrap_or_else(|| {
            let (python, work_root) = (python.path.display(), work_root.display());
            SandboxError::Impossible(format!(
                "a trial run of {python} below {work_root} failed: {reason}. Set JOB_PYTHON to an interpreter that runs \
                 with nothing but its own folders, or WORK_ROOT to a folder on a local disk"
            ))
        })
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

/// Whether jobs may run without namespaces, which can't be had for this reason.
fn may_be_the_floor(options: &SandboxOptions, reason: String) -> Result<(), SandboxError> {
    match (options.level, options.network) {
        (Level::Strict, _) => Err(SandboxError::NotStrict(format!("namespaces ({reason})"))),
        (_, Network::Loopback) => Err(SandboxError::NoLoopback(reason)),
        _ => {
            tracing::info!(reason, "jobs have no namespaces of their own");
            Ok(())
        }
    }
}

/// The memory of a job whose class names none, in bytes.
fn share(slots: usize) -> u64 {
    limits::machine_memory() / 10 * 9 / slots.max(1) as u64
}

/// The first folder on the way to a path, itself included, that only its owner or group may enter, and its mode.
fn closed_folder(path: &Path) -> Option<(PathBuf, u32)> {
    let path = path.canonicalize().ok()?;
    let way: Vec<&Path> = path.ancestors().collect();
    way.into_iter().rev().find_map(|folder| {
        let found = folder.metadata().ok()?;
        let is_closed = found.is_dir() && found.mode() & 0o001 == 0;
        is_closed.then(|| (folder.to_owned(), found.mode() & 0o7777))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_closed_folder_is_named_with_its_mode_and_its_cure() {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), Permissions::from_mode(0o711)).unwrap();
        let closed = top.path().canonicalize().unwrap().join("closed");
        let path = closed.join("work");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(closed_folder(&path), None);
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let (folder, mode) = closed_folder(&path).unwrap();
        assert_eq!((&folder, mode), (&closed, 0o700));
        let told = SandboxError::Closed { folder, mode, path, variable: "WORK_ROOT" }.to_string();
        assert!(told.contains("(mode 0700)") && told.contains("`chmod o+x ") && told.contains("WORK_ROOT"), "{told}");
    }
}
