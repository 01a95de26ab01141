//! Where files are.

use std::path::{Path, PathBuf};

use adapters::object::{Bucket, InvalidStorage, S3Settings, StorageUrl};
use anyhow::{Context, Result, bail};
use bytesize::ByteSize;
use clap::Args;
use events::ports::DiskReserve;

/// Where files are, and how much of the disk they may take.
#[derive(Debug, Args)]
pub(crate) struct StorageOptions {
    /// Where submissions, logs and artifacts are: `file:///folder` or `s3://bucket/prefix`. S3 reads the AWS_* variables
    /// [default: folders in <data>]
    // As text: an error of the parser would repeat it, and it may hold a secret by mistake.
    #[arg(long, env = "STORAGE_URL", hide_env_values = true)]
    storage_url: Option<String>,
    /// Folder for submissions, without --storage-url [default: <data>/uploads]
    #[arg(long, env = "UPLOAD_ROOT")]
    upload_root: Option<PathBuf>,
    /// Folder for logs, without --storage-url [default: <data>/logs]
    #[arg(long, env = "LOG_ROOT")]
    log_root: Option<PathBuf>,
    /// Folder for the artifacts of jobs, without --storage-url [default: <data>/artifacts]
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

    /// The bucket that has all files; `None` if they are in folders.
    ///
    /// # Errors
    /// If the URL can't be used, or is given together with folders.
    pub(crate) fn bucket(&self) -> Result<Option<Bucket>> {
        let url = self.url().context("STORAGE_URL can't be used")?;
        let folders =
            [("UPLOAD_ROOT", &self.upload_root), ("LOG_ROOT", &self.log_root), ("ARTIFACT_ROOT", &self.artifact_root)];
        let given = folders.iter().find(|(_, folder)| folder.is_some());
        if let (Some(_), Some((name, _))) = (&url, given) {
            bail!("STORAGE_URL and {name} are both given: STORAGE_URL says where all files are, so unset {name}");
        }
        Ok(match url {
            Some(StorageUrl::Bucket(bucket)) => Some(bucket),
            Some(StorageUrl::Folder(_)) | None => None,
        })
    }

    fn url(&self) -> Result<Option<StorageUrl>, InvalidStorage> {
        let given = self.storage_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        given.map(str::parse).transpose()
    }

    pub(crate) fn uploads(&self, data: &Path) -> PathBuf {
        self.folder(self.upload_root.as_deref(), data, "uploads")
    }

    pub(crate) fn logs(&self, data: &Path) -> PathBuf {
        self.folder(self.log_root.as_deref(), data, "logs")
    }

    pub(crate) fn artifacts(&self, data: &Path) -> PathBuf {
        self.folder(self.artifact_root.as_deref(), data, "artifacts")
    }

    fn folder(&self, given: Option<&Path>, data: &Path, name: &str) -> PathBuf {
        match (given, self.url()) {
            (Some(folder), _) => folder.to_owned(),
            (None, Ok(Some(StorageUrl::Folder(root)))) => root.join(name),
            (None, _) => data.join(name),
        }
    }
}

/// How S3 is spoken to, from the environment.
///
/// # Errors
/// If a file that it names can't be read.
pub(crate) fn s3_settings() -> Result<S3Settings> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    Ok(S3Settings::of(std::env::vars_os().filter_map(text), |path| std::fs::read(path))?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        storage: StorageOptions,
    }

    fn storage(args: &[&str]) -> StorageOptions {
        Cli::try_parse_from(["api"].iter().chain(args)).unwrap().storage
    }

    #[test]
    fn a_url_says_where_all_files_are() {
        let data = Path::new("/data");
        let folders = |storage: &StorageOptions| [storage.uploads(data), storage.logs(data), storage.artifacts(data)];
        for (args, bucket, root) in [
            (&[][..], None, "/data"),
            (&["--storage-url", " "], None, "/data"),
            (&["--storage-url", "file:///srv/board"], None, "/srv/board"),
            (&["--storage-url", "s3://board/a"], Some("s3://board/a"), "/data"),
        ] {
            let storage = storage(args);
            assert_eq!(storage.bucket().unwrap().map(|bucket| bucket.to_string()).as_deref(), bucket);
            assert_eq!(folders(&storage), ["uploads", "logs", "artifacts"].map(|name| Path::new(root).join(name)));
        }
        assert_eq!(storage(&["--log-root", "/l"]).logs(data), Path::new("/l"));
    }

    #[test]
    fn a_url_beside_a_folder_and_one_that_is_none_are_refused() {
        let both = storage(&["--storage-url", "s3://board", "--log-root", "/l"]).bucket().unwrap_err();
        assert!(both.to_string().contains("LOG_ROOT are both given"), "{both}");
        let wrong = storage(&["--storage-url", "s3://key:secret@board"]).bucket().unwrap_err();
        assert!(!format!("{wrong:#}").contains("secret"), "{wrong:#}");
    }
}
