//! What a job of a class may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::invalid::InvalidPolicy;
use crate::id::ClassName;

const MIB: u64 = 1 << 20;

/// What a job of a class may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceClass {
    /// Wall time in seconds, from the start of the process.
    pub time_limit_s: u64,
    /// Memory in bytes; none is the worker's share of its machine.
    pub memory_bytes: Option<u64>,
    /// Processes at once; each thread counts as one.
    pub processes: u32,
    /// All that a run may write to disk, in bytes.
    pub output_bytes: u64,
    /// What is kept of a run's log, in bytes.
    pub log_bytes: u64,
    /// GPUs that a run has for itself.
    pub gpus: u32,
}

/// What was set of a resource class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSettings {
    /// Its name.
    pub name: ClassName,
    /// The wall time of a job of it, in seconds.
    pub time_limit_s: u64,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// All that a run may write to disk, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// What is kept of a run's log, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// GPUs that a run has for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
}

impl ResourceClass {
    /// A class of that wall time in seconds, and by default in all else.
    #[must_use]
    pub const fn of(time_limit_s: u64) -> Self {
        Self {
            time_limit_s,
            memory_bytes: None,
            processes: 4096,
            output_bytes: 20 << 30,
            log_bytes: 256 * MIB,
            gpus: 0,
        }
    }

    /// How long a job may run.
    #[must_use]
    pub const fn time_limit(&self) -> Duration {
        Duration::from_secs(self.time_limit_s)
    }
}

impl ClassSettings {
    /// A class of that wall time in seconds, nothing else of which is set.
    #[must_use]
    pub const fn of(name: ClassName, time_limit_s: u64) -> Self {
        Self {
            name,
            time_limit_s,
            memory_bytes: None,
            processes: None,
            output_bytes: None,
            log_bytes: None,
            gpus: None,
        }
    }

    /// Checks what a program may set.
    ///
    /// # Errors
    /// Which limit of which class no job could live with.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let name = &self.name;
        let at_least = |limit, given: Option<u64>, least, rule, unit| {
            given.filter(|given| *given < least).map(|given| (limit, rule, given, unit))
        };
        let broken = [
            at_least("time", Some(self.time_limit_s), 1, "at least 1s", "s"),
            at_least("memory", self.memory_bytes, 64 * MIB, "at least 64MiB", " bytes"),
            at_least("processes", self.processes.map(u64::from), 16, "at least 16", ""),
            at_least("output", self.output_bytes, MIB, "at least 1MiB", " bytes"),
            at_least("log", self.log_bytes, MIB, "at least 1MiB", " bytes"),
            self.gpus.filter(|count| *count > 64).map(|count| ("gpus", "at most 64", u64::from(count), "")),
        ];
        match broken.into_iter().flatten().next() {
            Some((limit, rule, given, unit)) => Err(InvalidPolicy(
                format!("RESOURCE_CLASSES: {limit} of class {name} must be {rule}, not {given}{unit}").into(),
            )),
            None => Ok(()),
        }
    }

    /// The class they make.
    #[must_use]
    pub fn class(&self) -> ResourceClass {
        let default = ResourceClass::of(self.time_limit_s);
        ResourceClass {
            time_limit_s: self.time_limit_s,
            memory_bytes: self.memory_bytes,
            processes: self.processes.unwrap_or(default.processes),
            output_bytes: self.output_bytes.unwrap_or(default.output_bytes),
            log_bytes: self.log_bytes.unwrap_or(default.log_bytes),
            gpus: self.gpus.unwrap_or(default.gpus),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ClassSettings {
        ClassSettings::of("small".parse().unwrap(), 1800)
    }

    #[test]
    fn only_what_was_set_is_stored_and_the_rest_is_as_by_default() {
        let set = ClassSettings { gpus: Some(2), ..small() };
        let stored = serde_json::to_string(&set).unwrap();
        assert_eq!(stored, r#"{"name":"small","time_limit_s":1800,"gpus":2}"#);
        assert_eq!(serde_json::from_str::<ClassSettings>(&stored).unwrap(), set);
        assert_eq!(set.class(), ResourceClass { gpus: 2, ..ResourceClass::of(1800) });
    }

    #[test]
    fn a_limit_that_no_job_could_live_with_is_named_with_its_class() {
        let bad = [
            (ClassSettings { time_limit_s: 0, ..small() }, "time"),
            (ClassSettings { memory_bytes: Some(1 << 20), ..small() }, "memory"),
            (ClassSettings { processes: Some(15), ..small() }, "processes"),
            (ClassSettings { output_bytes: Some(0), ..small() }, "output"),
            (
                ClassSettings { log_bytes: Some(1000), ..small() },
                "log of class small must be at least 1MiB, not 1000 bytes",
            ),
            (ClassSettings { gpus: Some(65), ..small() }, "gpus of class small must be at most 64, not 65"),
        ];
        for (settings, culprit) in bad {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(culprit) && error.contains("small"), "{error}");
        }
        assert_eq!(small().check(), Ok(()));
    }
}
