//! The machine's GPUs: which there are, who has them, what they do.
//!
//! `driver` is what is asked of them, `nvml` who is asked; `inventory` knows what each does, `pool` which are free, and
//! `lease` holds those of a run;
//! `meter` tells what a run took of them, `watch` looks at them for as long as the worker lives. A machine without
//! a driver has none, and nothing here ever fails a worker.

mod driver;
#[cfg(any(test, feature = "faults"))]
mod fake;
mod inventory;
mod lease;
mod lock;
mod meter;
mod nvml;
mod pool;
mod probe;
mod selection;
#[cfg(test)]
mod tests;
mod watch;

pub use pool::{GpuOptions, Gpus};
pub use selection::{Choice, Selection};

pub(crate) use lease::{GpuLease, Offer};
pub(crate) use meter::{GpuUsage, Meter};
pub(crate) use watch::watch;
