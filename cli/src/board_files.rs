//! The files of a board: in folders, or in a bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adapters::artifact_files::ArtifactFiles;
use adapters::log_files::LogFiles;
use adapters::object::{Bucket, ObjectArtifacts, ObjectLogs, ObjectSubmissions, Store};
use adapters::redis::Redis;
use adapters::storage::DirectoryStorage;
use anyhow::{Context, Result};
use events::ports::{ArtifactPort, LogPort, StoragePort};

use crate::options::storage::{StorageOptions, s3_settings};

/// What jobs printed and left.
pub(crate) struct JobFiles {
    pub(crate) logs: Arc<dyn LogPort>,
    pub(crate) artifacts: Arc<dyn ArtifactPort>,
}

/// Opens the files of jobs, and those of submissions under the name of their board.
///
/// # Errors
/// If they can't be used.
pub(crate) async fn open(
    storage: &StorageOptions,
    data: &Path,
    board: &str,
    redis: &Redis,
) -> Result<(Arc<dyn StoragePort>, JobFiles)> {
    let files = open_jobs(storage, data, redis)?;
    let Some(bucket) = storage.bucket()? else {
        let uploads = storage.uploads(data);
        let submissions = DirectoryStorage::open(uploads.clone())
            .and_then(|storage| storage.of_board(board))
            .with_context(|| format!("the upload directory {} can't be used", uploads.display()))?;
        return Ok((Arc::new(submissions), files));
    };
    let store = store(&bucket)?;
    let submissions = async {
        store.check().await?;
        ObjectSubmissions::new(store, spool(data)?).of_board(board).await.map_err(anyhow::Error::from)
    };
    let submissions = submissions.await.with_context(|| format!("the storage {bucket} can't be used"))?;
    Ok((Arc::new(submissions), files))
}

/// Opens the files of jobs.
///
/// # Errors
/// If they can't be used.
pub(crate) fn open_jobs(storage: &StorageOptions, data: &Path, redis: &Redis) -> Result<JobFiles> {
    if let Some(bucket) = storage.bucket()? {
        let store = store(&bucket)?;
        let logs = ObjectLogs::new(store.clone(), spool(data)?, Some(redis.clone()));
        return Ok(JobFiles { logs: Arc::new(logs), artifacts: Arc::new(ObjectArtifacts::new(store)) });
    }
    let (logs, artifacts) = (storage.logs(data), storage.artifacts(data));
    let logs =
        LogFiles::open(logs.clone()).with_context(|| format!("the log directory {} can't be used", logs.display()))?;
    let artifacts = ArtifactFiles::open(artifacts.clone())
        .map(|files| files.keeping_free(storage.disk_reserve()))
        .with_context(|| format!("the artifact directory {} can't be used", artifacts.display()))?;
    Ok(JobFiles { logs: Arc::new(logs), artifacts: Arc::new(artifacts) })
}

/// The client of a bucket.
///
/// # Errors
/// If a setting can't be used.
pub(crate) fn store(bucket: &Bucket) -> Result<Store> {
    Store::open(bucket, &s3_settings()?).with_context(|| format!("the storage {bucket} can't be used"))
}

/// The folder of local copies, whose files have no names.
fn spool(data: &Path) -> Result<PathBuf> {
    let folder = std::path::absolute(data.join("spool"))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    Ok(folder)
}
