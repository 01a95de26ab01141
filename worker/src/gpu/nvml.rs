//! The driver of NVIDIA's GPUs, by its management library.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device as NvmlDevice, Nvml as Library};
use tokio::time::Instant;

use super::driver::{CUDA_SCRIPT, Device, Driver, DriverError, GpuProcess, Sample};

/// How long a library that could not be opened, or lost its driver, is left alone.
const REOPEN_AFTER: Duration = Duration::from_secs(30);

/// The library: opened once, and anew, slowly, when its driver went away.
#[derive(Debug, Default)]
pub(super) struct Nvml(Mutex<Handle>);

#[derive(Debug, Default)]
struct Handle {
    library: Option<Library>,
    /// When it last failed, and how.
    failure: Option<(Instant, DriverError)>,
}

impl Nvml {
    fn with<T>(&self, ask: impl FnOnce(&Library) -> Result<T, NvmlError>) -> Result<T, DriverError> {
        let mut handle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = ask(handle.open()?);
        answer.map_err(|error| {
            let failure = failed(&error);
            if is_gone(&error) {
                handle.library = None;
                handle.failure = Some((Instant::now(), failure.clone()));
            }
            failure
        })
    }

    fn of_device<T>(
        &self,
        uuid: &str,
        ask: impl FnOnce(&NvmlDevice<'_>) -> Result<T, NvmlError>,
    ) -> Result<T, DriverError> {
        self.with(|library| ask(&library.device_by_uuid(uuid)?))
    }
}

impl Handle {
    fn open(&mut self) -> Result<&Library, DriverError> {
        if let Some((when, error)) = &self.failure
            && when.elapsed() < REOPEN_AFTER
        {
            return Err(error.clone());
        }
        if self.library.is_none() {
            match Library::init() {
                Ok(library) => (self.library, self.failure) = (Some(library), None),
                Err(error) => self.failure = Some((Instant::now(), failed(&error))),
            }
        }
        match (&self.library, &self.failure) {
            (Some(library), _) => Ok(library),
            (None, Some((_, error))) => Err(error.clone()),
            (None, None) => Err(DriverError::Failed("it was not opened".to_owned())),
        }
    }
}

fn failed(error: &NvmlError) -> DriverError {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            DriverError::Absent("libnvidia-ml.so.1 is not here".to_owned())
        }
        NvmlError::DriverNotLoaded => DriverError::Absent("the NVIDIA driver is not loaded".to_owned()),
        other => DriverError::Failed(other.to_string()),
    }
}

/// Whether nothing more can be expected of this handle.
const fn is_gone(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
            | NvmlError::LibRmVersionMismatch
            | NvmlError::GpuLost
            | NvmlError::Unknown
    )
}

impl Driver for Nvml {
    fn devices(&self) -> Result<Vec<Device>, DriverError> {
        self.with(|library| {
            // One that has fallen off the bus can't be asked, and must not hide the others.
            let device = |index| library.device_by_index(index).and_then(|device| describe(index, &device)).ok();
            Ok((0..library.device_count()?).filter_map(device).collect())
        })
    }

    fn sample(&self, uuid: &str) -> Result<Sample, DriverError> {
        self.of_device(uuid, |device| {
            Ok(Sample {
                utilisation_percent: told(device.utilization_rates())?.map(|rates| rates.gpu),
                memory_used_bytes: told(device.memory_info())?.map(|memory| memory.used),
                temperature_c: told(device.temperature(TemperatureSensor::Gpu))?,
                power_mw: told(device.power_usage())?,
                energy_mj: told(device.total_energy_consumption())?,
            })
        })
    }

    fn processes(&self, uuid: &str) -> Result<Vec<GpuProcess>, DriverError> {
        #[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is of one lifetime only")]
        let processes = self.of_device(uuid, |device| device.running_compute_processes())?;
        let read = |process: nvml_wrapper::struct_wrappers::device::ProcessInfo| GpuProcess {
            pid: process.pid,
            memory_bytes: match process.used_gpu_memory {
                UsedGpuMemory::Used(bytes) => Some(bytes),
                UsedGpuMemory::Unavailable => None,
            },
        };
        Ok(processes.into_iter().map(read).collect())
    }

    fn accounted(&self, uuid: &str) -> Result<Option<BTreeMap<u32, u64>>, DriverError> {
        self.of_device(uuid, |device| {
            if !told(device.is_accounting_enabled())?.unwrap_or(false) {
                return Ok(None);
            }
            let peak = |pid| device.accounting_stats_for(pid).ok()?.max_memory_usage.map(|bytes| (pid, bytes));
            Ok(Some(device.accounting_pids()?.into_iter().filter_map(peak).collect()))
        })
    }

    fn cuda_script(&self, _: &str) -> String {
        CUDA_SCRIPT.to_owned()
    }
}

fn describe(index: u32, device: &NvmlDevice<'_>) -> Result<Device, NvmlError> {
    let is_split = told(device.mig_mode())?.is_some_and(|mode| mode.current != 0);
    Ok(Device {
        uuid: device.uuid()?,
        name: device.name()?,
        index,
        minor: device.minor_number()?,
        memory_bytes: told(device.memory_info())?.map_or(0, |memory| memory.total),
        unfit: is_split.then(|| "it is split by MIG".to_owned()),
    })
}

/// What a GPU tells; none for what this model or driver can't.
fn told<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(
            NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::NoData
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::InvalidArg,
        ) => Ok(None),
        Err(error) => Err(error),
    }
}
