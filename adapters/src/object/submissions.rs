//! Submissions as objects: `submissions/<id>/<escaped name>`, published by `metadata.json` beside them, which is written last.
//!
//! An archive is read from a local file without a name, so that it can be judged and unpacked without a call for each
//! entry: while it is uploaded, what comes goes to both; before a run it is copied there. Such files go with their
//! process, and hold no more than the submission.

use std::collections::BTreeMap;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use events::SubmissionId;
use events::ports::{
    ArchiveContents, ArchiveLimits, ArtifactReader, FileName, Published, Room, StagedFile, StagedUpload, StorageError,
    StoragePort,
};
use events::submission::ArchiveReading;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use super::keys::{self, SUBMISSIONS};
use super::names::{escape, unescape};
use super::store::{Store, Written};
use super::trouble::StoreError;
use super::unfinished::{Note, STALE, Unfinished};
use super::upload::Upload;
use crate::storage::archives::{Judging, unpack};
use crate::storage::{Spent, blocking, failed};

const PROBE: &str = ".probe";
/// How long what was found out about the bucket holds.
const PROBE_HOLDS: Duration = Duration::from_secs(10);
/// How many files of a submission are fetched at a time.
const FETCHES: usize = 4;
/// How much of a file is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Submissions as objects of a bucket.
#[derive(Debug, Clone)]
pub struct ObjectSubmissions {
    store: Store,
    /// Where archives are read from.
    spool: PathBuf,
    judging: Judging,
    /// Whether several boards use the bucket and prefix.
    is_shared: bool,
    probed: Arc<Mutex<Option<Instant>>>,
}

impl ObjectSubmissions {
    /// The submissions in a bucket, whichever board's they are: [`StoragePort::published`] finds nothing.
    #[must_use]
    pub fn new(store: Store, spool: PathBuf) -> Self {
        Self { store, spool, judging: Judging::default(), is_shared: true, probed: Arc::default() }
    }

    /// Leaves the name of the board whose submissions these are. Where several boards did, what one has no record of may
    /// be another's, and [`StoragePort::published`] finds nothing for any of them.
    ///
    /// # Errors
    /// If the bucket can't be used.
    pub async fn of_board(self, name: &str) -> Result<Self, StoreError> {
        keys::add_board(&self.store, name).await?;
        let boards: Vec<_> = keys::boards(&self.store).take(2).try_collect().await?;
        let is_shared = boards.len() > 1;
        if is_shared {
            tracing::warn!(
                storage = %self.store.bucket(),
                "several boards have used this storage, or one that lost its Redis: files that no record tells of are \
                 left there. `.boards` in it names them; remove the names of those that are no more"
            );
        }
        Ok(Self { is_shared, ..self })
    }

    /// Opens a file of a submission; `None` if it is not there.
    pub(crate) async fn open(
        &self,
        id: SubmissionId,
        name: &FileName,
    ) -> Result<Option<Box<dyn ArtifactReader>>, StoreError> {
        let opened = self.store.open_at(&key(id, name.as_str()), 0).await?;
        Ok(opened.map(|content| Box::new(content) as Box<dyn ArtifactReader>))
    }

    /// The files of a submission, without its metadata.
    async fn files(&self, id: SubmissionId) -> Result<Vec<FileName>, StoreError> {
        let folder = format!("{SUBMISSIONS}/{id}");
        let listed: Vec<_> = self.store.list(&folder, None)?.try_collect().await?;
        let name = |key: &str| FileName::of_stored(&unescape(key.strip_prefix(&folder)?.strip_prefix('/')?)?);
        Ok(listed.iter().filter_map(|object| name(&object.key)).collect())
    }

    /// Copies a file of a submission.
    async fn copy(&self, id: SubmissionId, name: &FileName, to: std::fs::File) -> Result<std::fs::File, StorageError> {
        let mut to = File::from_std(to);
        let key = key(id, name.as_str());
        let content = self.store.open_at(&key, 0).await?;
        let mut content = content.ok_or_else(|| StoreError(format!("{key} is gone from {}", self.store.place())))?;
        loop {
            let chunk = content.read(CHUNK_BYTES).await?;
            if chunk.is_empty() {
                break;
            }
            to.write_all(&chunk).await.map_err(failed("copying a file"))?;
        }
        to.flush().await.map_err(failed("copying a file"))?;
        Ok(to.into_std().await)
    }
}

#[async_trait]
impl StoragePort for ObjectSubmissions {
    async fn stage(&self, id: SubmissionId) -> Result<Box<dyn StagedUpload>, StorageError> {
        let set = Unfinished::Set { folder: folder(id), manifest: key(id, FileName::METADATA), set: None };
        Ok(Box::new(Staged {
            store: self.store.clone(),
            id,
            note: Some(Note::write(&self.store, &set).await?),
            current: None,
            archives: BTreeMap::new(),
            spool: self.spool.clone(),
            spent: Arc::default(),
            judging: self.judging.clone(),
        }))
    }

    /// What fails in between may have left files in `into`; a later try writes over them.
    async fn fetch(
        &self,
        id: SubmissionId,
        into: &Path,
        limits: &ArchiveLimits,
        readings: &[ArchiveReading],
    ) -> Result<(), StorageError> {
        self.metadata(id).await?;
        let files = self.files(id).await?;
        let fetched = futures::stream::iter(files).map(async |name| {
            let (archive, path, spool) = (name.is_archive(), into.join(name.as_str()), self.spool.clone());
            let make = move || if archive { tempfile::tempfile_in(spool) } else { create(&path) };
            let to = blocking(move || make().map_err(failed("making a file"))).await?;
            let mut copied = self.copy(id, &name, to).await?;
            copied.rewind().map_err(failed("reading a file"))?;
            Ok::<_, StorageError>((name, copied))
        });
        // Nothing of the store is needed any more when the first archive is unpacked.
        let mut fetched: Vec<_> = fetched.buffer_unordered(FETCHES).try_collect().await?;
        fetched.retain(|(name, _)| name.is_archive());
        fetched.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (into, limits, readings) = (into.to_owned(), *limits, readings.to_vec());
        blocking(move || {
            let mut spent = Spent::default();
            fetched.into_iter().try_for_each(|(name, file)| unpack(&name, file, &into, &limits, &readings, &mut spent))
        })
        .await
    }

    async fn metadata(&self, id: SubmissionId) -> Result<Bytes, StorageError> {
        let found = self.store.get(&key(id, FileName::METADATA)).await?;
        found.map(|found| found.bytes).ok_or(StorageError::Missing(id))
    }

    async fn delete(&self, id: SubmissionId) -> Result<(), StorageError> {
        // Without it the rest does not count, whatever happens in between.
        self.store.delete(&key(id, FileName::METADATA)).await?;
        Ok(self.store.delete_all(&folder(id)).await?)
    }

    async fn probe(&self) -> Result<(), StorageError> {
        let holds = |at: &Instant| at.elapsed() < PROBE_HOLDS;
        if self.probed.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(holds) {
            return Ok(());
        }
        self.store.put(PROBE, Bytes::new()).await?;
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// A bucket has no end that is known.
    async fn room(&self) -> Result<Room, StorageError> {
        Ok(Room { free_bytes: 0, total_bytes: 0 })
    }

    async fn published(
        &self,
        after: Option<SubmissionId>,
        count: usize,
        age: Duration,
    ) -> Result<Published, StorageError> {
        if self.is_shared {
            return Ok(Published { ids: vec![], next: None });
        }
        // Behind all files of that one: '0' follows '/'.
        let after = after.map(|id| format!("{SUBMISSIONS}/{id}0"));
        let mut objects = self.store.list(SUBMISSIONS, after.as_deref())?;
        let (mut seen, mut last, mut ids) = (0, None, Vec::new());
        while let Some(object) = objects.try_next().await? {
            let mut parts = object.key.splitn(3, '/').skip(1);
            let (Some(Ok(id)), Some(name)) = (parts.next().map(str::parse::<SubmissionId>), parts.next()) else {
                continue;
            };
            if last != Some(id) {
                if seen == count {
                    return Ok(Published { ids, next: last });
                }
                (seen, last) = (seen + 1, Some(id));
            }
            // Without it the files are of an upload under way, or of one that the sweep clears away.
            if name == FileName::METADATA && object.age > age {
                ids.push(id);
            }
        }
        Ok(Published { ids, next: None })
    }

    async fn remove_stale(&self) -> Result<(), StorageError> {
        Ok(self.store.sweep(STALE).await?)
    }
}

fn folder(id: SubmissionId) -> String {
    format!("{SUBMISSIONS}/{id}")
}

fn key(id: SubmissionId, name: &str) -> String {
    format!("{SUBMISSIONS}/{id}/{}", escape(name))
}

fn create(path: &Path) -> io::Result<std::fs::File> {
    std::fs::File::options().read(true).write(true).create(true).truncate(true).open(path)
}

struct Staged {
    store: Store,
    id: SubmissionId,
    /// `None` once the files are published.
    note: Option<Note>,
    current: Option<Current>,
    /// The archives that are whole.
    archives: BTreeMap<FileName, std::fs::File>,
    spool: PathBuf,
    spent: Arc<Mutex<Spent>>,
    judging: Judging,
}

struct Current {
    name: FileName,
    upload: Upload,
    /// The same bytes, of an archive.
    local: Option<File>,
    digest: Sha256,
    size: u64,
}

#[async_trait]
impl StagedUpload for Staged {
    async fn begin(&mut self, name: &FileName) -> Result<(), StorageError> {
        let local = if name.is_archive() {
            let spool = self.spool.clone();
            let local = blocking(|| tempfile::tempfile_in(spool).map_err(failed("making a file for an archive")));
            Some(File::from_std(local.await?))
        } else {
            None
        };
        let upload = Upload::new(&self.store, key(self.id, name.as_str()));
        self.current = Some(Current { name: name.clone(), upload, local, digest: Sha256::new(), size: 0 });
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        let current = self.current.as_mut().ok_or_else(no_file)?;
        if let Some(local) = &mut current.local {
            local.write_all(&chunk).await.map_err(failed("writing an archive"))?;
        }
        current.upload.write(&chunk).await?;
        current.digest.update(&chunk);
        current.size += chunk.len() as u64;
        Ok(())
    }

    async fn finish(&mut self) -> Result<StagedFile, StorageError> {
        let Current { name, upload, local, digest, size } = self.current.take().ok_or_else(no_file)?;
        upload.finish().await?;
        if let Some(mut local) = local {
            local.flush().await.map_err(failed("writing an archive"))?;
            self.archives.insert(name.clone(), local.into_std().await);
        }
        Ok(StagedFile { name, size, sha256: hex::encode(digest.finalize()) })
    }

    async fn read_archive(&self, name: &FileName, limits: &ArchiveLimits) -> Result<ArchiveContents, StorageError> {
        let file = self.archives.get(name).ok_or_else(no_file)?;
        let file = file.try_clone().map_err(failed("opening an archive"))?;
        self.judging.judge(name, move || Ok(file), limits, &self.spent).await
    }

    async fn publish(mut self: Box<Self>, metadata: Bytes) -> Result<(), StorageError> {
        let manifest = key(self.id, FileName::METADATA);
        if self.store.create(&manifest, metadata.clone()).await? == Written::Taken {
            // It is this one's own if the answer to it was lost.
            let found = self.store.get(&manifest).await?;
            if found.is_none_or(|found| found.bytes != metadata) {
                return Err(StoreError(format!("submission {} is there already", self.id)).into());
            }
        }
        if let Some(note) = self.note.take() {
            note.remove(&self.store).await;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let (Some(note), Ok(runtime)) = (self.note.take(), Handle::try_current()) else { return };
        let (store, id) = (self.store.clone(), self.id);
        // The answer to the manifest may be what was lost, so it goes first.
        runtime.spawn(async move {
            let deleted = async {
                store.delete(&key(id, FileName::METADATA)).await?;
                store.delete_all(&folder(id)).await
            };
            match deleted.await {
                Ok(()) => note.remove(&store).await,
                Err(error) => tracing::debug!(%id, %error, "the files of a broken upload are deleted by the sweep"),
            }
        });
    }
}

fn no_file() -> StorageError {
    failed("writing a file")(io::Error::other("no file was begun"))
}
