//! The settings that all roles must agree on.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use events::policy::PolicySettings;

use super::classes;
use super::classes::Classes;
use super::limits::LimitOptions;
use crate::value;

/// The settings that all roles share. Redis stores them; `up`, `migrate` and `policy set` change them.
#[derive(Debug, Clone, Args)]
pub(crate) struct PolicyOptions {
    /// The resource classes and their limits; the first is the default. After the time, each limit is optional:
    /// `:memory=16GiB` (the worker's share), `:processes=512` (4096), `:output=5GiB` (20GiB), `:log=64MiB` (256MiB),
    /// `:gpus=1` (0). `@FILE` has one class per line [default: small=30m,medium=60m]
    #[arg(long, env = "RESOURCE_CLASSES", value_name = "NAME=TIME[:KEY=VALUE…],…", value_parser = classes::read)]
    resource_classes: Option<Classes>,
    /// How long a worker may be silent before others run its jobs [default: 30s]
    #[arg(long, env = "LEASE", value_name = "TIME", value_parser = value::time)]
    lease: Option<Duration>,
    /// Retries of a job after failures of the platform [default: 3]
    #[arg(long, env = "MAX_RETRIES", value_name = "N", value_parser = value::count::<u32>)]
    max_retries: Option<u32>,
    /// Delays before the first, the second and every later retry [default: 1s,5s,25s]
    #[arg(long, env = "RETRY_BACKOFF", value_delimiter = ',', value_name = "TIME,…",
          value_parser = value::time)]
    retry_backoff: Option<Vec<Duration>>,
    #[command(flatten)]
    limits: LimitOptions,
    /// How long to keep a finished job with its results, log and artifacts [default: 90d]
    #[arg(long, env = "RETENTION", value_name = "TIME", value_parser = value::time)]
    retention: Option<Duration>,
    /// How long to keep a submission that never had a job [default: 30d]
    #[arg(long, env = "SUBMISSION_TTL", value_name = "TIME", value_parser = value::time)]
    submission_ttl: Option<Duration>,
}

impl PolicyOptions {
    /// What was given.
    ///
    /// # Errors
    /// Which of it would not work.
    pub(crate) fn given(&self) -> Result<PolicySettings> {
        let millis = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let given = PolicySettings {
            lease_ms: self.lease.as_ref().map(millis),
            max_retries: self.max_retries,
            retry_backoff_ms: self.retry_backoff.as_ref().map(|waits| waits.iter().map(millis).collect()),
            classes: self.resource_classes.as_ref().map(|classes| classes.0.clone()),
            limits: self.limits.given(),
            retention_ms: self.retention.as_ref().map(millis),
            submission_ttl_ms: self.submission_ttl.as_ref().map(millis),
        };
        given.check()?;
        Ok(given)
    }
}
