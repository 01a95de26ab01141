//! How large a campaign is.

use std::time::Duration;

/// The size of a campaign, from its environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// From it follow all programs, cancels and faults.
    pub(crate) seed: u64,
    /// How many jobs are to be accepted.
    pub(crate) jobs: usize,
    /// How long faults go on at least.
    pub(crate) duration: Duration,
    /// How many worker processes there are.
    pub(crate) workers: usize,
    /// How many jobs may be open at once: beyond it the clients wait.
    pub(crate) open_limit: usize,
    /// Whether the data stays although everything held.
    pub(crate) keep: bool,
    /// How long the last job may take to end once nothing breaks any more.
    pub(crate) bound: Duration,
}

/// How long faults go on at most, for each job that is asked for: a machine that is too slow for both comes to an end
/// all the same.
const FAULTS_A_JOB: Duration = Duration::from_millis(500);

impl Settings {
    /// Reads `CHAOS_SEED`, `CHAOS_JOBS`, `CHAOS_SECONDS`, `CHAOS_WORKERS` and `CHAOS_KEEP`.
    ///
    /// # Panics
    /// If one of them is no number.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str, default: u64| match variable(name) {
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
            None => default,
        };
        let size = |name, default| usize::try_from(number(name, default)).expect("it fits");
        Self {
            seed: number("CHAOS_SEED", 1),
            jobs: size("CHAOS_JOBS", 2_000),
            duration: Duration::from_secs(number("CHAOS_SECONDS", 60)),
            workers: size("CHAOS_WORKERS", 3).max(1),
            open_limit: 60,
            keep: number("CHAOS_KEEP", 0) > 0,
            bound: Duration::from_mins(3),
        }
    }

    /// How long faults go on at most.
    pub(crate) fn longest(&self) -> Duration {
        self.duration.max(FAULTS_A_JOB * u32::try_from(self.jobs).unwrap_or(u32::MAX))
    }
}

/// A variable of this process's environment.
#[expect(clippy::disallowed_methods, reason = "a campaign has no command line: `make` hands variables down")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
