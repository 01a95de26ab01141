//! Who may use the API, and what it takes and shows.

mod http;

use clap::Args;
use events::ports::{ArchiveLimits, Suffixes, UploadLimits};

use http::HttpOptions;

/// Who may use the API, and what an upload may hold.
#[derive(Debug, Args)]
pub(crate) struct AccessOptions {
    /// Tokens of users, separated by commas: name:token, or a bare token
    #[arg(long, env = "API_TOKENS", hide_env_values = true, default_value = "", hide_default_value = true)]
    pub(crate) api_tokens: String,
    /// Tokens of admins, in the same form
    #[arg(long, env = "ADMIN_TOKENS", hide_env_values = true, default_value = "", hide_default_value = true)]
    pub(crate) admin_tokens: String,
    /// Maximum size of one uploaded file, in bytes
    #[arg(long, env = "MAX_FILE_SIZE", default_value_t = UploadLimits::default().file_bytes)]
    max_file_size: u64,
    /// Further suffixes for uploaded files, such as .csv,.json; always allowed: .py, .yaml, .zip, .tar.gz
    #[arg(long, env = "ALLOWED_SUFFIXES", default_value = "", hide_default_value = true)]
    allowed_suffixes: Suffixes,
    /// Metrics and their order, such as `image_auc:desc,latency_ms:asc`; the first is the leaderboard's default
    #[arg(long, env = "LEADERBOARD_METRICS", default_value = "", hide_default_value = true)]
    pub(crate) leaderboard_metrics: api::BoardMetrics,
    /// Serve /metrics on this address instead of the API's
    #[arg(long, env = "METRICS_ADDR")]
    pub(crate) metrics_addr: Option<std::net::SocketAddr>,
    #[command(flatten)]
    pub(crate) http: HttpOptions,
}

impl AccessOptions {
    pub(crate) fn upload_limits(&self) -> UploadLimits {
        let (suffixes, file_bytes) = (self.allowed_suffixes.clone(), self.max_file_size);
        UploadLimits { suffixes, file_bytes, ..UploadLimits::default() }
    }
}

/// What an archive may hold; not configurable so far.
pub(crate) fn archive_limits() -> ArchiveLimits {
    ArchiveLimits::default()
}
