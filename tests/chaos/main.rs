//! `make chaos`: many jobs while everything breaks, then the question whether any was lost or finished twice.
//!
//! Real processes: a Redis that syncs every answer, an API, workers with a work root each, and a program for every job.
//! Clients keep their own list of what they were answered. A schedule that is a function of the seed kills, stops and
//! drains processes, cuts connections and damages what Redis holds. In the end that list is compared with the log.

mod breaker;
mod campaign;
mod chance;
mod descriptors;
mod leftovers;
mod load;
mod log;
mod programs;
mod report;
mod schedule;
mod settings;
mod site;
mod verdict;
mod words;
mod work_state;

use std::process::ExitCode;

use crate::settings::Settings;

fn main() -> ExitCode {
    let settings = Settings::from_environment();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(campaign::run(settings));
    println!("{report}");
    println!("written to {}", report.write().display());
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
