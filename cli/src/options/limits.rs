//! What a user may have in use: given by option, kept in Redis as part of the policy.

use bytesize::ByteSize;
use clap::Args;
use events::ConcurrencyPolicy;
use events::policy::LimitSettings;

use crate::value;

/// What a user may have in use. Part of the policy.
#[derive(Debug, Clone, Args)]
pub(crate) struct LimitOptions {
    /// Accepted jobs of a user per hour [default: 10]
    #[arg(long, env = "MAX_SUBMISSIONS_PER_HOUR", value_name = "N", value_parser = value::count::<u64>)]
    max_submissions_per_hour: Option<u64>,
    /// Jobs of a user that run at once [default: 1]
    #[arg(long, env = "MAX_CONCURRENT_RUNNING", value_name = "N", value_parser = value::count::<u64>)]
    max_concurrent_running: Option<u64>,
    /// What to do with a new job when its user is at `MAX_CONCURRENT_RUNNING`: `reject` answers 429, `queue` accepts
    /// the job and holds it [default: reject]
    #[arg(long, env = "CONCURRENCY_POLICY", value_name = "reject|queue")]
    concurrency_policy: Option<ConcurrencyPolicy>,
    /// Pending jobs of a user [default: 20]
    #[arg(long, env = "MAX_QUEUED_PER_USER", value_name = "N", value_parser = value::count::<u64>)]
    max_queued_per_user: Option<u64>,
    /// Uploads of a user per hour [default: 60]
    #[arg(long, env = "MAX_UPLOADS_PER_HOUR", value_name = "N", value_parser = value::count::<u64>)]
    max_uploads_per_hour: Option<u64>,
    /// Uploads of a user that are in flight at once, over all API hosts [default: 4]
    #[arg(long, env = "MAX_UPLOADS_IN_FLIGHT", value_name = "N", value_parser = value::count::<u64>)]
    max_uploads_in_flight: Option<u64>,
    /// Size of all submissions of a user [default: 20GiB]
    #[arg(long, env = "MAX_STORED_BYTES_PER_USER", value_name = "SIZE", value_parser = value::size)]
    max_stored_bytes_per_user: Option<ByteSize>,
}

impl LimitOptions {
    /// What was given.
    pub(crate) fn given(&self) -> LimitSettings {
        LimitSettings {
            max_submissions_per_hour: self.max_submissions_per_hour,
            max_concurrent_running: self.max_concurrent_running,
            concurrency_policy: self.concurrency_policy,
            max_queued_per_user: self.max_queued_per_user,
            max_uploads_per_hour: self.max_uploads_per_hour,
            max_uploads_in_flight: self.max_uploads_in_flight,
            max_stored_bytes_per_user: self.max_stored_bytes_per_user.map(|size| size.as_u64()),
        }
    }
}
