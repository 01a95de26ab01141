//! The GPUs for jobs.

use std::path::PathBuf;

use clap::Args;
use worker::{Gpus, Selection};

/// Which GPUs jobs may use.
#[derive(Debug, Args)]
pub(crate) struct GpuOptions {
    /// GPUs for jobs: all, none, or their numbers in `nvidia-smi` or UUIDs, separated by commas
    #[arg(long, env = "GPUS", value_name = "GPU,…", default_value = "all")]
    gpus: Selection,
    /// Jobs that share one GPU
    #[arg(long, env = "GPU_SLOTS", value_name = "N", default_value_t = 1, value_parser = crate::value::count::<usize>)]
    pub(super) gpu_slots: usize,
    /// A file that describes simulated GPUs
    #[cfg(feature = "faults")]
    #[arg(long, env = "LEADERSBOARD_FAKE_GPUS", hide = true)]
    fake_gpus: Option<PathBuf>,
}

impl GpuOptions {
    /// Finds the GPUs. Workers of this machine share them by the locks in the folder `locks`.
    pub(crate) async fn open(&self, locks: PathBuf) -> Gpus {
        let options = worker::GpuOptions {
            selection: self.gpus.clone(),
            slots_per_gpu: self.gpu_slots,
            locks,
            #[cfg(feature = "faults")]
            fake: self.fake_gpus.clone(),
        };
        Gpus::open(options).await
    }
}
