//! What is asked of the driver of GPUs. Every call may take as long as the driver likes.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// Asks the CUDA driver to begin, as every framework does first, and counts what it shows; needs nothing but Python.
pub(super) const CUDA_SCRIPT: &str = r#"
import ctypes
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    raise SystemExit("libcuda.so.1 can't be loaded: %s" % error)
code = cuda.cuInit(0)
if code:
    raise SystemExit("cuInit answers %d" % code)
count = ctypes.c_int(-1)
code = cuda.cuDeviceGetCount(ctypes.byref(count))
if code or count.value < 1:
    raise SystemExit("cuDeviceGetCount answers %d with %d devices" % (code, count.value))
print("devices: %d" % count.value)
"#;

/// What is asked of the driver of GPUs.
pub(super) trait Driver: Debug + Send + Sync {
    /// Every GPU there is, in the order of the PCI bus.
    fn devices(&self) -> Result<Vec<Device>, DriverError>;

    /// What a GPU does now.
    fn sample(&self, uuid: &str) -> Result<Sample, DriverError>;

    /// The processes that compute on a GPU. Their ids are those of the machine, not of a container.
    fn processes(&self, uuid: &str) -> Result<Vec<GpuProcess>, DriverError>;

    /// The peak memory of each process by accounting, ended ones included; `None` if accounting is off.
    fn accounted(&self, uuid: &str) -> Result<Option<BTreeMap<u32, u64>>, DriverError>;

    /// A script in Python that has the framework's driver begin where this GPU is the only one to be seen, and prints
    /// `devices: <count>`.
    fn cuda_script(&self, uuid: &str) -> String;
}

/// A GPU of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) uuid: String,
    pub(super) name: String,
    /// Its place on the PCI bus, among those of this machine.
    pub(super) index: u32,
    /// The number of its device node.
    pub(super) minor: u32,
    pub(super) memory_bytes: u64,
    /// Why no job can have it as a whole, whatever it does.
    pub(super) unfit: Option<String>,
}

/// What a GPU does at one moment. What it can't tell is none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Sample {
    pub(super) utilisation_percent: Option<u32>,
    pub(super) memory_used_bytes: Option<u64>,
    pub(super) temperature_c: Option<u32>,
    pub(super) power_mw: Option<u32>,
    /// Since the driver was loaded.
    pub(super) energy_mj: Option<u64>,
}

/// A process on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GpuProcess {
    pub(super) pid: u32,
    /// Its memory there now.
    pub(super) memory_bytes: Option<u64>,
}

/// Why the driver gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DriverError {
    /// This machine has none.
    #[error("no GPU driver: {0}")]
    Absent(String),
    /// It is there and failed.
    #[error("{0}")]
    Failed(String),
}
