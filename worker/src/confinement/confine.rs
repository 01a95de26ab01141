//! What holds one run, from before its program starts until nothing of it is left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use events::ResourceClass;

use super::sandbox::{Applied, Sandbox};
use super::turn::Turns;
use super::{Isolation, Network, ProcessLimits, SHARED_MEMORY, Spec, View};
use crate::confinement::full::identities::OwnIdentity;
use crate::confinement::full::view::DEVICES;
use crate::confinement::limits;
use crate::confinement::limits::{Allowance, Bounds, Breach, Group, SharedMemory};
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::supervise::mark::Mark;
use crate::confinement::supervise::process::Ended;

/// What holds one run.
#[derive(Debug)]
pub(crate) struct Confinement {
    pub(crate) isolation: Isolation,
    pub(crate) identity: Option<OwnIdentity>,
    pub(crate) limits: ProcessLimits,
    pub(crate) allowance: Allowance,
    pub(crate) bounds: Bounds,
    pub(crate) group: Box<dyn Group>,
    pub(crate) shared_memory: Option<SharedMemory>,
    /// The turns of this worker, if the run is the worker's own user and could change the modes of its folders.
    turns: Option<Arc<Turns>>,
}

impl Confinement {
    /// A program that it holds, with all that the program sees of an environment, and what marks the run.
    pub(crate) fn spec(
        &self,
        program: &Path,
        arguments: Vec<String>,
        directory: PathBuf,
        environment: Vec<(String, String)>,
        marker: &str,
    ) -> Spec {
        Spec {
            program: program.to_owned(),
            arguments,
            directory,
            environment,
            isolation: self.isolation.clone(),
            identity: self.identity.as_ref().map(|own| own.identity),
            limits: self.limits,
            mark: Mark::of(marker).limit(),
            groups: self.group.entrances(),
        }
    }

    /// Takes back what the run had, once nothing of it is left, and says how it ended: a program may call it an end of
    /// its own when the kernel has killed a part of it.
    pub(crate) fn close(self, ended: Ended, directory: &RunDirectory) -> Ended {
        // Whatever it left there goes with it.
        drop(self.shared_memory);
        if let Some(turns) = &self.turns {
            turns.restore_modes();
            directory.reopen();
        }
        if let Err(error) = directory.reopen_output() {
            tracing::warn!(%error, "the artifacts of the job can't be read");
        }
        match ended {
            Ended::Exited(_) if self.group.oom_kills() > 0 => {
                Ended::Exceeded(Breach::Memory(self.allowance.memory_bytes))
            }
            ended => ended,
        }
    }
}

/// What one run has beside what every run of this worker has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs<'a> {
    /// Device files that it may use.
    pub(crate) devices: &'a [PathBuf],
    /// Files and folders that it may read, and execute from.
    pub(crate) readable: &'a [PathBuf],
    /// Its network, where that is not the one of jobs.
    pub(crate) network: Option<Network>,
}

impl Sandbox {
    /// Lets go of what a run had if something of it may be left: nobody gets its user or its turn before that is gone.
    pub(crate) fn abandon(&self, confinement: Confinement) {
        std::mem::forget(confinement.identity);
        if let Some(turns) = &self.turns {
            turns.leave_something();
        }
    }

    /// What holds a run of this class in this directory, which becomes its user's.
    pub(crate) async fn confine(
        &self,
        name: &str,
        directory: &RunDirectory,
        needs: Needs<'_>,
        class: &ResourceClass,
    ) -> io::Result<Confinement> {
        directory.take_share(&self.disk).await;
        let allowance = Allowance {
            memory_bytes: class.memory_bytes.unwrap_or(self.share_bytes),
            processes: class.processes.into(),
            disk_bytes: class.output_bytes,
        };
        let identity = match &self.identities {
            None => None,
            Some(identities) => {
                let anywhere = name.bytes().fold(std::process::id(), |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
                let own = identities.take(anywhere)?;
                directory.hand_over(own.identity).await?;
                Some(own)
            }
        };
        let own = identity.is_some() || self.applied == Applied::Full;
        let processes = match self.applied {
            Applied::Off => None,
            _ if own => Some(allowance.processes),
            // They are counted with all others of the worker's user.
            _ => Some(allowance.processes + limits::threads_of_this_user()),
        };
        let shared_memory = match (self.applied, &identity, self.limiter.bounds()) {
            // It goes with the run, and the kernel counts it.
            (Applied::Full | Applied::Off, _, Bounds::Kernel) => None,
            (Applied::Full, ..) => Some(SharedMemory::Own),
            (_, Some(own), _) => Some(SharedMemory::of_own(own.identity.0)),
            (_, None, _) => Some(SharedMemory::of(nix::unistd::geteuid().as_raw())),
        };
        let view = self.view(directory, needs, &allowance);
        Ok(Confinement {
            isolation: match self.applied {
                Applied::Off => Isolation::Off,
                Applied::Floor => Isolation::Floor(view),
                Applied::Full => Isolation::Full(view),
            },
            identity,
            limits: ProcessLimits { processes, file_bytes: allowance.disk_bytes },
            allowance,
            bounds: self.limiter.bounds(),
            group: self.limiter.group(name, &allowance)?,
            shared_memory,
            turns: self.turns.clone(),
        })
    }

    fn view(&self, directory: &RunDirectory, needs: Needs<'_>, allowance: &Allowance) -> View {
        let mut writable = directory.parts().to_vec();
        writable.push(SHARED_MEMORY.into());
        if self.applied == Applied::Full {
            writable.push("/tmp".into());
        }
        // What lies in one of them is there already, and nothing can be put into it.
        let sight = &self.sight;
        let known = |path: &&PathBuf| !sight.readable.iter().any(|folder| path.starts_with(folder));
        View {
            readable: sight.readable.iter().chain(needs.readable.iter().filter(known)).cloned().collect(),
            listed: sight
                .listed
                .iter()
                .filter(|folder| self.applied == Applied::Full || !folder.holds_secret)
                .map(|folder| folder.path.clone())
                .collect(),
            writable,
            devices: DEVICES.iter().map(PathBuf::from).chain(needs.devices.iter().cloned()).collect(),
            landlock: self.landlock,
            network: needs.network.unwrap_or(self.network),
            root: directory.root(),
            temporary: directory.temporary(),
            shm_bytes: allowance.memory_bytes,
        }
    }
}
