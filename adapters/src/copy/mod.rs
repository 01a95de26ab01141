//! Copies a board's files between folders and buckets, item by item: submissions, artifacts, logs.
//!
//! An item is published in the target as any other: whole, and by its manifest. So a copy that was cut short is continued
//! by another, which passes over what is there.

mod bucket;
mod folders;
mod shelf;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use events::ports::{ArtifactPort, ArtifactReader, FileName, LogPort, PortError, StoragePort};
use events::{ArtifactList, Fence, JobId, SubmissionId};
use futures::stream::BoxStream;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::artifact_files::ArtifactFiles;
use crate::log_files::LogFiles;
use crate::object::{ObjectArtifacts, ObjectLogs, ObjectSubmissions, Store};
use crate::storage::DirectoryStorage;

use bucket::BucketShelf;
use folders::FolderShelf;
use shelf::Shelf;

pub use shelf::{CopyError, Item};

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The result of copying an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    /// It was copied, with so many bytes.
    Now(u64),
    /// It was there already.
    Before,
    /// It is not in the source any more: it expired meanwhile.
    Gone,
    /// Its bytes are not those that its manifest tells of. Nothing of it was copied.
    Damaged(String),
}

/// Where a board's files come from or go to.
pub struct Board {
    shelf: Box<dyn Shelf>,
    place: Place,
}

enum Place {
    Folder(PathBuf),
    Bucket(Store, PathBuf),
}

/// Where items are written.
struct Writing {
    submissions: Arc<dyn StoragePort>,
    artifacts: Arc<dyn ArtifactPort>,
    logs: Arc<dyn LogPort>,
}

impl Board {
    /// The board in the folders `uploads`, `logs` and `artifacts` of a folder.
    #[must_use]
    pub fn in_folder(root: PathBuf) -> Self {
        Self { shelf: Box::new(FolderShelf { root: root.clone() }), place: Place::Folder(root) }
    }

    /// The board in a bucket; local copies go to the folder `spool`.
    #[must_use]
    pub fn in_bucket(store: Store, spool: PathBuf) -> Self {
        let shelf = BucketShelf::new(store.clone(), spool.clone());
        Self { shelf: Box::new(shelf), place: Place::Bucket(store, spool) }
    }

    fn writing(&self) -> Result<Writing, CopyError> {
        Ok(match &self.place {
            Place::Folder(root) => Writing {
                submissions: Arc::new(DirectoryStorage::open(root.join(folders::UPLOADS))?),
                artifacts: Arc::new(ArtifactFiles::open(root.join(folders::ARTIFACTS))?),
                logs: Arc::new(LogFiles::open(root.join(folders::LOGS))?),
            },
            Place::Bucket(store, spool) => Writing {
                submissions: Arc::new(ObjectSubmissions::new(store.clone(), spool.clone())),
                artifacts: Arc::new(ObjectArtifacts::new(store.clone())),
                logs: Arc::new(ObjectLogs::new(store.clone(), spool.clone(), None)),
            },
        })
    }
}

/// A copy from one place to another. Nothing is deleted at either.
pub struct Copy {
    from: Board,
    to: Board,
    writing: Writing,
    boards: usize,
}

impl Copy {
    /// Prepares the target.
    ///
    /// # Errors
    /// If it can't be used.
    pub async fn begin(from: Board, to: Board) -> Result<Self, CopyError> {
        if let Place::Bucket(store, _) = &to.place {
            store.check().await.map_err(|error| CopyError(error.to_string()))?;
        }
        let writing = to.writing()?;
        let boards = from.shelf.boards().await?;
        // First: where several boards have files, none may sweep those of another.
        for board in &boards {
            to.shelf.add_board(board).await?;
        }
        Ok(Self { from, to, writing, boards: boards.len() })
    }

    /// How many boards have left their names in the source.
    #[must_use]
    pub const fn boards(&self) -> usize {
        self.boards
    }

    /// All that is in the source now.
    #[must_use]
    pub fn items(&self) -> BoxStream<'_, Result<Item, CopyError>> {
        self.from.shelf.items()
    }

    /// Whether the target has the same of an item as the source, or the source has none any more.
    ///
    /// # Errors
    /// If one of them can't be read.
    pub async fn is_done(&self, item: &Item) -> Result<bool, CopyError> {
        let from = self.from.shelf.mark(item).await?;
        Ok(from.is_none() || from == self.to.shelf.mark(item).await?)
    }

    /// Copies an item, unless it is there.
    ///
    /// # Errors
    /// If one of the two places can't be used.
    pub async fn copy(&self, item: &Item) -> Result<Copied, CopyError> {
        let Some(mark) = self.from.shelf.mark(item).await? else { return Ok(Copied::Gone) };
        if self.to.shelf.mark(item).await?.as_ref() == Some(&mark) {
            return Ok(Copied::Before);
        }
        let copied = match item {
            Item::Submission(id) => self.copy_submission(item, *id, &mark).await,
            Item::Artifacts(job, fence) => self.copy_artifacts(item, *job, fence, &mark).await,
            Item::Log(job, fence) => self.copy_log(item, *job, fence).await,
        };
        match copied {
            Ok(bytes) => Ok(Copied::Now(bytes)),
            Err(Failed::Place(error)) => Err(error),
            // What was deleted while it was read is not damaged.
            Err(Failed::Item(_)) if self.from.shelf.mark(item).await?.is_none() => Ok(Copied::Gone),
            Err(Failed::Item(why)) => Ok(Copied::Damaged(why)),
        }
    }

    async fn open(&self, item: &Item, name: &str) -> Result<Box<dyn ArtifactReader>, Failed> {
        let opened = self.from.shelf.open(item, name).await?;
        opened.ok_or_else(|| Failed::Item(format!("its file {name:?} is missing")))
    }

    async fn copy_submission(&self, item: &Item, id: SubmissionId, metadata: &Bytes) -> Result<u64, Failed> {
        let listed: Metadata = serde_json::from_slice(metadata)
            .map_err(|error| Failed::Item(format!("its metadata.json can't be read: {error}")))?;
        let mut staged = self.writing.submissions.stage(id).await?;
        let mut bytes = 0;
        for file in &listed.files {
            let name = FileName::of_stored(&file.name);
            let name = name.ok_or_else(|| Failed::Item(format!("no file can be named {:?}", file.name)))?;
            let mut content = self.open(item, &file.name).await?;
            staged.begin(&name).await?;
            loop {
                let chunk = content.read(CHUNK_BYTES).await?;
                if chunk.is_empty() {
                    break;
                }
                staged.write(chunk).await?;
            }
            let stored = staged.finish().await?;
            check(&file.name, &stored.sha256, &file.sha256)?;
            bytes += stored.size;
        }
        staged.publish(metadata.clone()).await?;
        Ok(bytes)
    }

    async fn copy_artifacts(&self, item: &Item, job: JobId, fence: &Fence, text: &Bytes) -> Result<u64, Failed> {
        let list: ArtifactList = serde_json::from_slice(text)
            .map_err(|error| Failed::Item(format!("its list of files can't be read: {error}")))?;
        let mut staged = self.writing.artifacts.stage(job, fence).await?;
        let mut bytes = 0;
        for file in list.files {
            let mut content = self.open(item, file.path.as_str()).await?;
            // Writing blocks, and is for a thread that may be blocked.
            let runtime = Handle::current();
            let written = spawn_blocking(move || {
                staged.begin(&file.path)?;
                loop {
                    let chunk = runtime.block_on(content.read(CHUNK_BYTES))?;
                    if chunk.is_empty() {
                        break;
                    }
                    staged.write(&chunk)?;
                }
                let stored = staged.finish()?;
                Ok::<_, PortError>((staged, stored, file))
            });
            let written = written.await.map_err(|error| CopyError(format!("copying broke off: {error}")))?;
            let (again, stored, file) = written?;
            staged = again;
            check(file.path.as_str(), &stored.sha256, &file.sha256)?;
            bytes += stored.bytes;
        }
        staged.publish(text.clone()).await?;
        Ok(bytes)
    }

    /// Copies what the target does not have of a log, and compares all of it.
    async fn copy_log(&self, item: &Item, job: JobId, fence: &Fence) -> Result<u64, Failed> {
        let mut log = self.writing.logs.create(job, fence).await?;
        let (known, mut read) = (log.position(), 0);
        let mut digest = Sha256::new();
        let mut content = self.open(item, "").await?;
        loop {
            let chunk = content.read(CHUNK_BYTES).await?;
            if chunk.is_empty() {
                break;
            }
            digest.update(&chunk);
            let unknown = usize::try_from(known.saturating_sub(read)).unwrap_or(usize::MAX).min(chunk.len());
            log.append(&chunk[unknown..]).await?;
            read += chunk.len() as u64;
        }
        log.close().await?;
        drop(log);
        let stored = self.to.shelf.open(item, "").await?;
        let mut stored = stored.ok_or_else(|| Failed::Item("the target does not have it".to_owned()))?;
        let mut copy = Sha256::new();
        loop {
            let chunk = stored.read(CHUNK_BYTES).await?;
            if chunk.is_empty() {
                break;
            }
            copy.update(&chunk);
        }
        check("the log", &hex::encode(copy.finalize()), &hex::encode(digest.finalize()))?;
        Ok(read.saturating_sub(known))
    }
}

/// Why an item was not copied.
enum Failed {
    /// One of the two places can't be used.
    Place(CopyError),
    /// The item can't be copied.
    Item(String),
}

impl<E: Into<CopyError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Place(error.into())
    }
}

/// What `metadata.json` tells of files.
#[derive(Deserialize)]
struct Metadata {
    files: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    sha256: String,
}

fn check(name: &str, found: &str, told: &str) -> Result<(), Failed> {
    if found == told {
        return Ok(());
    }
    Err(Failed::Item(format!("{name:?} has the SHA-256 {found}, and should have {told}")))
}
