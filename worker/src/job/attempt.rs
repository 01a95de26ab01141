//! What the steps of one run share while it is under way.

use crate::confinement::run_directory::RunDirectory;
use crate::gpu::GpuLease;
use crate::job::interrupt::Interrupt;
use crate::job::run::Run;
use crate::job::stage_watchdog::StageWatchdog;

/// A run under way: what its steps share.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) run: &'a Run,
    pub(crate) gpus: &'a GpuLease,
    /// The directory of the run, removed when its steps are over.
    pub(crate) directory: &'a RunDirectory,
    /// Tells when the run is to stop before its program ends by itself.
    pub(crate) interrupt: &'a Interrupt,
    /// Learns which stage the run is in, and how long that may last.
    pub(crate) watchdog: &'a StageWatchdog,
}
