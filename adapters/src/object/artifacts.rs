//! The artifacts of runs as objects: `artifacts/<job>/<fence>/<set>/<name>`, published by `manifest.json` beside the
//! sets, which is written last.
//!
//! The manifest's first line names the set that counts; the rest is the list of its files. A name is the SHA-256 of the
//! file's path: paths may be longer than keys may be, and hold what servers read in different ways.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{ArtifactPort, ArtifactReader, PortError, StagedArtifact, StagedArtifacts};
use events::{ArtifactPath, Fence, JobId};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use super::keys::{ARTIFACTS, MANIFEST};
use super::store::{Content, Store, Written};
use super::trouble::StoreError;
use super::unfinished::{Note, STALE, Unfinished};
use super::upload::Upload;
use crate::faults::failpoint;
use crate::ids::random_hex;

/// Behind the manifest in the order of keys: what is deleted is out of sight first.
const SET: &str = "set-";
/// How many small files may be under way at once, and how many of their bytes.
const FILES_UNDER_WAY: usize = 16;
const BYTES_UNDER_WAY: usize = 32 << 20;

/// The artifacts of runs as objects of a bucket.
#[derive(Debug, Clone)]
pub struct ObjectArtifacts {
    store: Store,
    /// The run whose files were read last, and the set of them: files are mostly read one after the other.
    last: Arc<Mutex<Option<(String, String)>>>,
}

/// A manifest: which set counts, and the list of its files.
struct Manifest {
    set: String,
    list: Bytes,
}

impl Manifest {
    fn read(bytes: &Bytes) -> Result<Self, PortError> {
        let bad = || PortError::Corrupt("a manifest of artifacts does not begin with the name of a set".into());
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(bad)?;
        let set = std::str::from_utf8(&bytes[..end]).ok();
        let is_plain = |hex: &str| !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let set = set.filter(|set| set.strip_prefix(SET).is_some_and(is_plain));
        Ok(Self { set: set.ok_or_else(bad)?.to_owned(), list: bytes.slice(end + 1..) })
    }

    fn write(set: &str, list: &[u8]) -> Bytes {
        [set.as_bytes(), b"\n", list].concat().into()
    }
}

impl ObjectArtifacts {
    /// The artifacts in a bucket.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, last: Arc::default() }
    }

    async fn manifest(&self, run: &str) -> Result<Option<Manifest>, PortError> {
        let found = self.store.get(&format!("{run}/{MANIFEST}")).await?;
        let manifest = found.map(|found| Manifest::read(&found.bytes)).transpose()?;
        let seen = manifest.as_ref().map(|manifest| (run.to_owned(), manifest.set.clone()));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(manifest)
    }

    fn last_set(&self, run: &str) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(last, _)| last == run).map(|(_, set)| set.clone())
    }
}

fn folder(job: JobId, fence: &Fence) -> String {
    format!("{ARTIFACTS}/{job}/{fence}")
}

fn key(set: &str, path: &ArtifactPath) -> String {
    format!("{set}/{}", hex::encode(Sha256::digest(path.as_str())))
}

#[async_trait]
impl ArtifactPort for ObjectArtifacts {
    async fn stage(&self, job: JobId, fence: &Fence) -> Result<Box<dyn StagedArtifacts>, PortError> {
        failpoint!("artifacts.stage");
        let (run, set) = (folder(job, fence), format!("{SET}{}", random_hex::<8>()));
        let folder = format!("{run}/{set}");
        let manifest = format!("{run}/{MANIFEST}");
        let what = Unfinished::Set { folder: folder.clone(), manifest: manifest.clone(), set: Some(set.clone()) };
        let note = Some(Note::write(&self.store, &what).await?);
        let (store, runtime) = (self.store.clone(), Handle::current());
        let under_way = UnderWay { files: JoinSet::new(), bytes: 0 };
        Ok(Box::new(Staged { store, runtime, run, set, folder, manifest, note, current: None, under_way }))
    }

    async fn list(&self, job: JobId, fence: &Fence) -> Result<Option<Bytes>, PortError> {
        Ok(self.manifest(&folder(job, fence)).await?.map(|manifest| manifest.list))
    }

    async fn open(
        &self,
        job: JobId,
        fence: &Fence,
        path: &ArtifactPath,
        offset: u64,
    ) -> Result<Option<Box<dyn ArtifactReader>>, PortError> {
        let run = folder(job, fence);
        let open = async |set: &str| self.store.open_at(&key(&format!("{run}/{set}"), path), offset).await;
        let known = self.last_set(&run);
        if let Some(set) = &known
            && let Some(content) = open(set).await?
        {
            return Ok(Some(Box::new(content)));
        }
        // What was replaced meanwhile is in another set.
        match self.manifest(&run).await? {
            Some(manifest) if known.as_ref() != Some(&manifest.set) => {
                Ok(open(&manifest.set).await?.map(|content| Box::new(content) as Box<dyn ArtifactReader>))
            }
            _ => Ok(None),
        }
    }

    async fn delete(&self, job: JobId) -> Result<(), PortError> {
        failpoint!("artifacts.delete");
        Ok(self.store.delete_all(&format!("{ARTIFACTS}/{job}")).await?)
    }

    async fn remove_stale(&self) -> Result<(), PortError> {
        Ok(self.store.sweep(STALE).await?)
    }
}

#[async_trait]
impl ArtifactReader for Content {
    async fn read(&mut self, max: usize) -> Result<Bytes, PortError> {
        Ok(Self::read(self, max).await?)
    }
}

/// What a run left, on its way. Its thread may be blocked, so it waits there for the tasks that talk to the bucket.
struct Staged {
    store: Store,
    runtime: Handle,
    run: String,
    set: String,
    folder: String,
    manifest: String,
    /// `None` once it is published, or may be.
    note: Option<Note>,
    current: Option<Current>,
    under_way: UnderWay,
}

struct Current {
    upload: Upload,
    digest: Sha256,
    bytes: u64,
}

/// Files whose last bytes are on their way: a call for each of ten thousand small files takes its time.
struct UnderWay {
    files: JoinSet<Result<usize, StoreError>>,
    bytes: usize,
}

impl UnderWay {
    fn add(&mut self, upload: Upload, runtime: &Handle) {
        let waiting = upload.waiting_bytes();
        self.bytes += waiting;
        self.files.spawn_on(async move { upload.finish().await.map(|()| waiting) }, runtime);
    }

    const fn is_full(&self, files: usize) -> bool {
        files >= FILES_UNDER_WAY || self.bytes > BYTES_UNDER_WAY
    }

    /// Waits for the next that arrives; false if there is none.
    async fn is_one_done(&mut self) -> Result<bool, PortError> {
        match self.files.join_next().await {
            None => Ok(false),
            Some(done) => {
                self.bytes -= done.map_err(broken_off)??;
                Ok(true)
            }
        }
    }
}

#[async_trait]
impl StagedArtifacts for Staged {
    fn begin(&mut self, path: &ArtifactPath) -> Result<(), PortError> {
        let upload = Upload::new(&self.store, key(&self.folder, path));
        self.current = Some(Current { upload, digest: Sha256::new(), bytes: 0 });
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), PortError> {
        let Current { upload, digest, bytes } = self.current.as_mut().ok_or_else(no_file)?;
        self.runtime.block_on(upload.write(chunk))?;
        digest.update(chunk);
        *bytes += chunk.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<StagedArtifact, PortError> {
        let Current { upload, digest, bytes } = self.current.take().ok_or_else(no_file)?;
        self.under_way.add(upload, &self.runtime);
        while self.under_way.is_full(self.under_way.files.len()) {
            self.runtime.block_on(self.under_way.is_one_done())?;
        }
        Ok(StagedArtifact { bytes, sha256: hex::encode(digest.finalize()) })
    }

    fn discard(&mut self) -> Result<(), PortError> {
        let _inside = self.runtime.enter();
        self.current.take().map(drop).ok_or_else(no_file)
    }

    async fn publish(mut self: Box<Self>, list: Bytes) -> Result<String, PortError> {
        failpoint!("artifacts.publish.before");
        self.publish_list(&list).await?;
        failpoint!("artifacts.publish.after");
        Ok(hex::encode(Sha256::digest(&list)))
    }
}

impl Staged {
    /// Waits for the files that are under way, and has the manifest name their set.
    async fn publish_list(&mut self, list: &[u8]) -> Result<(), PortError> {
        while self.under_way.is_one_done().await? {}
        let bytes = Manifest::write(&self.set, list);
        // From here on the set may be the one that counts, whatever becomes of the answer: only the sweep can tell.
        let note = self.note.take();
        let mut replaced = None;
        while self.store.create(&self.manifest, bytes.clone()).await? == Written::Taken {
            // It is this one's own if the answer to it was lost, or an earlier try's of the same run.
            let Some(found) = self.store.get(&self.manifest).await? else { continue };
            if found.bytes == bytes {
                break;
            }
            let earlier = Manifest::read(&found.bytes)?.set;
            if self.store.replace(&self.manifest, found, bytes.clone()).await? == Written::Yes {
                replaced = Some(earlier);
                break;
            }
        }
        if let Some(earlier) = replaced {
            self.store.delete_all(&format!("{}/{earlier}", self.run)).await?;
        }
        if let Some(note) = note {
            note.remove(&self.store).await;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.current = None;
        let Some(note) = self.note.take() else { return };
        let (store, folder) = (self.store.clone(), std::mem::take(&mut self.folder));
        let mut under_way = std::mem::take(&mut self.under_way.files);
        self.runtime.spawn(async move {
            // An object that arrives behind the others' end would stay.
            under_way.shutdown().await;
            match store.delete_all(&folder).await {
                Ok(()) => note.remove(&store).await,
                Err(error) => tracing::debug!(folder, %error, "staged artifacts are deleted by the sweep"),
            }
        });
    }
}

fn broken_off(error: JoinError) -> PortError {
    PortError::Unavailable(format!("the task that stores an artifact broke off: {error}").into())
}

fn no_file() -> PortError {
    PortError::Corrupt("no artifact was begun".into())
}
