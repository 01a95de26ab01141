//! Whether CUDA works where jobs run.

use std::path::Path;

use super::inventory::Inventory;
use super::lease::{device_nodes, environment};
use crate::confinement::{Needs, Probe, Sandbox};
use crate::python::Python;

impl Inventory {
    /// Has CUDA begin on each where jobs run. One on which it does not is offered to nobody.
    pub(crate) async fn try_out(&self, sandbox: &Sandbox, python: &Python, work_root: &Path) {
        for device in self.devices() {
            let probe = Probe {
                script: &self.cuda_script(&device.uuid),
                needs: Needs { devices: &device_nodes(std::iter::once(&device)), ..Needs::default() },
                environment: &environment(std::iter::once(&device)),
                ..Probe::default()
            };
            let printed = sandbox.run_probe(python, work_root, &probe).await;
            self.tried_out(&device.uuid, printed.and_then(|printed| sees_one(&printed)).err());
        }
    }
}

fn sees_one(printed: &str) -> Result<(), String> {
    match printed.trim().strip_prefix("devices: ").and_then(|count| count.parse::<u32>().ok()) {
        Some(1..) => Ok(()),
        _ => Err(format!("the CUDA probe printed {:?}", printed.chars().take(200).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_count_of_devices_is_a_yes() {
        assert_eq!(sees_one("devices: 1\n"), Ok(()));
        assert!(sees_one("devices: 0\n").is_err());
        assert!(sees_one("").is_err());
    }
}
