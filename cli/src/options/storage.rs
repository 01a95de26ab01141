//! Where files are.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::Args;
use events::ports::DiskReserve;

/// Where files are, and how much of the disk they may take.
#[derive(Debug, Args)]
pub(crate) struct StorageOptions {
    /// Folder for submissions [default: <data>/uploads]
    #[arg(long, env = "UPLOAD_ROOT")]
    upload_root: Option<PathBuf>,
    /// Folder for logs [default: <data>/logs]
    #[arg(long, env = "LOG_ROOT")]
    log_root: Option<PathBuf>,
    /// Folder for the artifacts of jobs [default: <data>/artifacts]
    #[arg(long, env = "ARTIFACT_ROOT")]
    artifact_root: Option<PathBuf>,
    /// Disk space that must stay free: if less is free, the worker ends the job that has grown most. 0
    /// disables it [default: 1GiB, or 5 % of a disk smaller than 20 GiB]
    #[arg(long, env = "DISK_RESERVE", value_name = "SIZE", value_parser = crate::value::size)]
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
