//! GPUs that a test makes up: a file tells what they are and do, and may change at any moment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::driver::{Device, Driver, DriverError, GpuProcess, Sample};

/// A driver whose every answer is read from a file: `[{"uuid", "memory_bytes", …}]`, or no JSON for a driver that
/// fails.
#[derive(Debug)]
pub(super) struct Fake(pub(super) PathBuf);

#[derive(Debug, Deserialize)]
struct FakeGpu {
    uuid: String,
    memory_bytes: u64,
    #[serde(default)]
    used_bytes: u64,
    /// Their memory by their ids.
    #[serde(default)]
    processes: BTreeMap<u32, u64>,
    #[serde(default)]
    accounted: Option<BTreeMap<u32, u64>>,
    #[serde(default)]
    energy_mj: u64,
    /// What `cuInit` answers.
    #[serde(default)]
    cuda_code: u32,
}

impl Fake {
    fn gpus(&self) -> Result<Vec<FakeGpu>, DriverError> {
        let text = std::fs::read(&self.0).map_err(|error| DriverError::Absent(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| DriverError::Failed(error.to_string()))
    }

    fn gpu(&self, uuid: &str) -> Result<FakeGpu, DriverError> {
        let gpu = self.gpus()?.into_iter().find(|gpu| gpu.uuid == uuid);
        gpu.ok_or_else(|| DriverError::Failed("the GPU is lost".to_owned()))
    }
}

impl Driver for Fake {
    fn devices(&self) -> Result<Vec<Device>, DriverError> {
        let device = |(index, gpu): (u32, FakeGpu)| Device {
            uuid: gpu.uuid,
            name: "Fake GPU".to_owned(),
            index,
            minor: index,
            memory_bytes: gpu.memory_bytes,
            unfit: None,
        };
        Ok((0..).zip(self.gpus()?).map(device).collect())
    }

    fn sample(&self, uuid: &str) -> Result<Sample, DriverError> {
        let gpu = self.gpu(uuid)?;
        Ok(Sample {
            utilisation_percent: Some(50),
            memory_used_bytes: Some(gpu.used_bytes),
            temperature_c: Some(40),
            power_mw: Some(100_000),
            energy_mj: Some(gpu.energy_mj),
        })
    }

    fn processes(&self, uuid: &str) -> Result<Vec<GpuProcess>, DriverError> {
        let process = |(pid, bytes)| GpuProcess { pid, memory_bytes: Some(bytes) };
        Ok(self.gpu(uuid)?.processes.into_iter().map(process).collect())
    }

    fn accounted(&self, uuid: &str) -> Result<Option<BTreeMap<u32, u64>>, DriverError> {
        Ok(self.gpu(uuid)?.accounted)
    }

    fn cuda_script(&self, uuid: &str) -> String {
        match self.gpu(uuid) {
            Ok(FakeGpu { cuda_code: 0, .. }) => "print('devices: 1')".to_owned(),
            Ok(FakeGpu { cuda_code, .. }) => format!("raise SystemExit('cuInit answers {cuda_code}')"),
            Err(error) => format!("raise SystemExit('{error}')"),
        }
    }
}
