//! What installs packages, and a run that may need some.

use std::path::PathBuf;
use std::sync::Arc;

use events::ResourceClass;
use events::failure::{Failure, FailureKind};

use super::installer::Installer;
use crate::confinement::Sandbox;
use crate::confinement::supervise::process::Graces;
use crate::job::interrupt::Interrupt;
use crate::job::outcome::Outcome;
use crate::job::stage_watchdog::StageWatchdog;
use crate::log::job_log::JobLog;
use crate::python::Python;
use crate::stop::Stop;

/// Installs what submissions require, once for every list of requirements.
pub(crate) struct Packages {
    pub(crate) installer: Installer,
    pub(crate) sandbox: Arc<Sandbox>,
    /// The interpreter that environments extend.
    pub(crate) python: Python,
    /// Where environments lie, for all workers of this machine.
    pub(crate) work_root: PathBuf,
    /// Where directories of installations lie.
    pub(crate) directory: PathBuf,
    pub(crate) graces: Graces,
    pub(crate) stop: Stop,
}

/// A run that may need an environment.
#[derive(Clone, Copy)]
pub(crate) struct Demand<'a> {
    /// The name of the run's own directory.
    pub(crate) name: &'a str,
    /// Marks every process of the run.
    pub(crate) marker: &'a str,
    pub(crate) class: &'a ResourceClass,
    pub(crate) log: &'a JobLog,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) watchdog: &'a StageWatchdog,
}

impl Demand<'_> {
    /// The failure of a run whose requirements can't be met.
    pub(super) fn refused(&self, error: String) -> Outcome {
        let log_tail = self.log.tail();
        Outcome::Failed(Failure { kind: FailureKind::Setup, error, exit_code: None, log_tail })
    }
}
