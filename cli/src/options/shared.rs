//! The options that several commands share, each with its environment variable. Read once, checked whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::Args;
use events::ports::{ArchiveLimits, DiskReserve, Suffixes, UploadLimits};
use projections::Keyspace;

use crate::data_dir::redis_url_file;

/// Where Redis is.
#[derive(Debug, Args)]
pub(crate) struct RedisOptions {
    /// The shared Redis, such as <redis://:password@host:6379> [default: the one of `up` in the data directory]
    #[arg(long, env = "REDIS_URL", hide_env_values = true, global = true)]
    redis_url: Option<String>,
    /// The data directory of `leadersboard up`
    #[arg(long, env = "DATA_DIR", default_value = "./data", global = true)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) namespace: NamespaceOption,
}

/// Which keys.
#[derive(Debug, Args)]
pub(crate) struct NamespaceOption {
    /// Several boards on one Redis each have a namespace
    #[arg(long, env = "NAMESPACE", default_value = "main", value_parser = parse_namespace, global = true)]
    pub(crate) namespace: Keyspace,
}

fn parse_namespace(text: &str) -> Result<Keyspace, String> {
    Keyspace::new(text).map_err(|error| error.to_string())
}

impl RedisOptions {
    /// Redis's address: the one given, else the one that `up` left.
    ///
    /// # Errors
    /// If there is neither.
    pub(crate) fn url(&self) -> Result<String> {
        if let Some(url) = &self.redis_url {
            return Ok(url.clone());
        }
        let file = redis_url_file(&self.data);
        let url = fs::read_to_string(&file).with_context(|| {
            format!(
                "no Redis is known: give --redis-url or REDIS_URL, or --data or DATA_DIR of a running \
                 `leadersboard up` ({} can't be read)",
                file.display()
            )
        })?;
        Ok(url.trim().to_owned())
    }
}

impl RedisOptions {
    /// Its socket, if that is a UNIX socket's path that is known.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let url = self.url().ok()?;
        let path = url.strip_prefix("redis+unix://").or_else(|| url.strip_prefix("unix://"))?;
        Some(PathBuf::from(path.split('?').next()?))
    }
}

/// What a role asks of its Redis.
#[derive(Debug, Args)]
pub(crate) struct StrictOption {
    /// Refuse to start on a Redis that may lose what it acknowledged, instead of warning
    #[arg(long, env = "STRICT")]
    pub(crate) strict: bool,
}

/// Where files are, and how much of the disk they may take.
#[derive(Debug, Args)]
pub(crate) struct StorageOptions {
    /// Where submissions are stored [default: <data>/uploads]
    #[arg(long, env = "UPLOAD_ROOT")]
    upload_root: Option<PathBuf>,
    /// Where logs are stored [default: <data>/logs]
    #[arg(long, env = "LOG_ROOT")]
    log_root: Option<PathBuf>,
    /// Where the files that jobs leave are stored [default: <data>/artifacts]
    #[arg(long, env = "ARTIFACT_ROOT")]
    artifact_root: Option<PathBuf>,
    /// How much of the disk must stay free, such as 2GiB: before that is used up, the job that grows most is ended. 0 turns
    /// it off [default: 1GiB, or 5 % of a disk smaller than 20 GiB]
    #[arg(long, env = "DISK_RESERVE")]
    disk_reserve: Option<ByteSize>,
}

impl StorageOptions {
    pub(crate) fn disk_reserve(&self) -> DiskReserve {
        self.disk_reserve.map_or_else(DiskReserve::default, |size| DiskReserve::of_bytes(size.as_u64()))
    }

    pub(crate) fn uploads(&self, data: &Path) -> PathBuf {
        self.upload_root.clone().unwrap_or_else(|| data.join("uploads"))
    }

    pub(crate) fn logs(&self, data: &Path) -> PathBuf {
        self.log_root.clone().unwrap_or_else(|| data.join("logs"))
    }

    pub(crate) fn artifacts(&self, data: &Path) -> PathBuf {
        self.artifact_root.clone().unwrap_or_else(|| data.join("artifacts"))
    }
}

/// Who may use the API, and what an upload may hold.
#[derive(Debug, Args)]
pub(crate) struct AccessOptions {
    /// The users: name:token, or a bare token, separated by commas
    #[arg(long, env = "API_TOKENS", hide_env_values = true, default_value = "", hide_default_value = true)]
    pub(crate) api_tokens: String,
    /// The admins, likewise
    #[arg(long, env = "ADMIN_TOKENS", hide_env_values = true, default_value = "", hide_default_value = true)]
    pub(crate) admin_tokens: String,
    /// The largest file of an upload, in bytes
    #[arg(long, env = "MAX_FILE_SIZE", default_value_t = UploadLimits::default().file_bytes)]
    max_file_size: u64,
    /// Suffixes of uploaded files that are taken beside .py, .yaml, .zip and .tar.gz, separated by commas, such as .csv,.json
    #[arg(long, env = "ALLOWED_SUFFIXES", default_value = "", hide_default_value = true)]
    allowed_suffixes: Suffixes,
    /// What people compare, such as `image_auc:desc,latency_ms:asc`; the first is what the leaderboard shows by itself
    #[arg(long, env = "LEADERBOARD_METRICS", default_value = "", hide_default_value = true)]
    pub(crate) leaderboard_metrics: api::BoardMetrics,
    /// Serve /metrics on an address of its own instead of beside the API
    #[arg(long, env = "METRICS_ADDR")]
    pub(crate) metrics_addr: Option<std::net::SocketAddr>,
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
