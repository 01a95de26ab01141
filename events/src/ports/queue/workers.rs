//! Which workers there are.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::{ClassName, Consumer};
use crate::ports::PortError;

/// Which workers there are.
#[async_trait]
pub trait WorkersPort: Send + Sync {
    /// Tells that a worker is there, for this long unless it tells so again.
    async fn announce(&self, presence: &Presence, lasting: Duration) -> Result<(), PortError>;

    /// Tells that a worker has left.
    async fn withdraw(&self, worker: &Consumer) -> Result<(), PortError>;

    /// Every worker that tells of itself, or holds tickets of these classes.
    async fn workers(&self, classes: &[ClassName]) -> Result<Vec<SeenWorker>, PortError>;

    /// Forgets the workers that no longer tell of themselves and hold no ticket of these classes; gives their number.
    async fn forget_dead(&self, classes: &[ClassName]) -> Result<u64, PortError>;
}

/// What a worker tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Its name, and which start of it.
    pub worker: Consumer,
    /// The machine it is on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// The classes it serves.
    pub classes: Vec<ClassName>,
    /// How many jobs it runs at once.
    pub slots: usize,
    /// How many it runs now.
    pub busy: usize,
    /// Whether it claims nothing more.
    pub draining: bool,
    /// What confines its jobs, such as `full landlock=7 seccomp user=own memory=cgroup_v2 network=none`.
    #[serde(default)]
    pub sandbox: String,
    /// The GPUs it gives to jobs.
    #[serde(default)]
    pub gpus: Vec<GpuPresence>,
    /// Why it takes no jobs, if it can't set any up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
}

impl Presence {
    /// Whether it takes jobs of a class.
    #[must_use]
    pub fn takes(&self, class: &ClassName) -> bool {
        !self.draining && self.unfit.is_none() && self.classes.contains(class)
    }
}

/// What a worker tells of one of its GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuPresence {
    /// Its UUID.
    pub uuid: String,
    /// Its model.
    pub name: String,
    /// All its memory, in bytes.
    pub memory_bytes: u64,
    /// Whether a job can have it.
    pub state: GpuState,
    /// Why not, where no job of this worker is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a job can have a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuState {
    /// It can.
    Free,
    /// A job of this worker has it.
    Leased,
    /// Something else on the machine uses it.
    Taken,
    /// It is lost, or was left in a state that must pass first.
    Unhealthy,
}

impl GpuState {
    /// The state as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Leased => "leased",
            Self::Taken => "taken",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A worker as it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenWorker {
    /// Its name.
    pub worker: Consumer,
    /// What it told last; none once it has been silent for too long.
    pub presence: Option<Presence>,
    /// How long ago it told so.
    pub silent: Option<Duration>,
    /// The tickets it holds.
    pub tickets: u64,
}
