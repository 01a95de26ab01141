//! What to log, and in which format.

use clap::{Args, ValueEnum};

/// What to log, and in which format.
#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// Format of log lines
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub(crate) log_format: LogFormat,
    /// Log filter, such as `info,leadersboard_worker=debug`
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub(crate) log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Human,
    /// One JSON object per line
    Json,
}
