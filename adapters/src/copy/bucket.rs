//! A board in a bucket, read through the adapters and the listing of its keys.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{ArtifactPort, ArtifactReader, FileName, LogPort, PortError, StoragePort};
use events::{ArtifactPath, Fence, JobId};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::shelf::{CopyError, Item, Shelf};
use crate::object::{ObjectArtifacts, ObjectLogs, ObjectSubmissions, Store, StoreError, keys};

pub(super) struct BucketShelf {
    store: Store,
    submissions: ObjectSubmissions,
    artifacts: ObjectArtifacts,
    logs: ObjectLogs,
}

impl BucketShelf {
    pub(super) fn new(store: Store, spool: PathBuf) -> Self {
        Self {
            submissions: ObjectSubmissions::new(store.clone(), spool.clone()),
            artifacts: ObjectArtifacts::new(store.clone()),
            // What is not sent yet is not copied.
            logs: ObjectLogs::new(store.clone(), spool, None),
            store,
        }
    }
}

impl From<StoreError> for CopyError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

#[async_trait]
impl Shelf for BucketShelf {
    async fn boards(&self) -> Result<Vec<String>, CopyError> {
        Ok(keys::boards(&self.store).try_collect().await?)
    }

    async fn add_board(&self, name: &str) -> Result<(), CopyError> {
        Ok(keys::add_board(&self.store, name).await?)
    }

    fn items(&self) -> BoxStream<'_, Result<Item, CopyError>> {
        let submissions = keys::submissions(&self.store).map_ok(Item::Submission);
        let artifacts = keys::runs_with_artifacts(&self.store).map_ok(|(job, fence)| Item::Artifacts(job, fence));
        let logs = keys::runs_with_logs(&self.store).map_ok(|(job, fence)| Item::Log(job, fence));
        submissions.chain(artifacts).chain(logs).map_err(CopyError::from).boxed()
    }

    async fn mark(&self, item: &Item) -> Result<Option<Bytes>, CopyError> {
        Ok(match item {
            Item::Submission(id) => match self.submissions.metadata(*id).await {
                Err(events::ports::StorageError::Missing(_)) => None,
                found => Some(found?),
            },
            Item::Artifacts(job, fence) => self.artifacts.list(*job, fence).await?,
            Item::Log(job, fence) => self.logs.len(*job, fence).await?.map(|len| len.to_string().into_bytes().into()),
        })
    }

    async fn open(&self, item: &Item, name: &str) -> Result<Option<Box<dyn ArtifactReader>>, CopyError> {
        Ok(match item {
            Item::Submission(id) => match FileName::of_stored(name) {
                Some(name) => self.submissions.open(*id, &name).await?,
                None => None,
            },
            Item::Artifacts(job, fence) => match name.parse::<ArtifactPath>() {
                Ok(path) => self.artifacts.open(*job, fence, &path, 0).await?,
                Err(_) => None,
            },
            Item::Log(job, fence) => {
                let reader = LogReader { logs: self.logs.clone(), job: *job, fence: fence.clone(), at: 0 };
                self.logs.len(*job, fence).await?.map(|_| Box::new(reader) as Box<dyn ArtifactReader>)
            }
        })
    }
}

struct LogReader {
    logs: ObjectLogs,
    job: JobId,
    fence: Fence,
    at: u64,
}

#[async_trait]
impl ArtifactReader for LogReader {
    async fn read(&mut self, max: usize) -> Result<Bytes, PortError> {
        let bytes = self.logs.read(self.job, &self.fence, self.at, max).await?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}
