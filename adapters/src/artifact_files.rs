//! The artifacts of runs, as files of a directory that all hosts share: `<root>/<job>/<fence>/files/<path>`, and beside
//! them `manifest.json`, their list.
//!
//! A run's files are written under `<root>/.staging/` and renamed when they are whole, so that a broken store leaves
//! nothing.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{ArtifactPort, ArtifactReader, DiskReserve, PortError, StagedArtifact, StagedArtifacts};
use events::{ArtifactPath, Fence, JobId, Problem};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest, Sha256};
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::task::{JoinError, spawn_blocking};

use crate::faults::failpoint;
use crate::ids::random_hex;
use crate::removal::not_removed;
use crate::storage::room_of;

const STAGING: &str = ".staging";
const FILES: &str = "files";
const LIST: &str = "manifest.json";
/// How long after its last change an unfinished store counts as dead.
const STALE: Duration = Duration::from_hours(24);
/// So many files are on their way to the disk at once: what waits for the first of them mostly waits for all.
const UNDER_WAY: usize = 128;
/// Bytes written between two checks of the free space.
const CHECK_EVERY_BYTES: u64 = 8 << 20;

/// The artifacts of runs, as files of a directory.
#[derive(Debug, Clone)]
pub struct ArtifactFiles {
    root: PathBuf,
    reserve: DiskReserve,
}

impl ArtifactFiles {
    /// Opens the artifacts under `root`, and creates `root` if it is missing.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        let staging = root.join(STAGING);
        std::fs::create_dir_all(&staging)?;
        remove_stale(&staging)?;
        Ok(Self { root, reserve: DiskReserve::of_bytes(0) })
    }

    /// Returns the same store, which stores nothing while less of the disk is free than `reserve`.
    #[must_use]
    pub fn keeping_free(self, reserve: DiskReserve) -> Self {
        Self { reserve, ..self }
    }

    fn folder(&self, job: JobId, fence: &Fence) -> PathBuf {
        self.root.join(job.to_string()).join(fence.as_str())
    }

    /// Returns an unused name in the staging folder.
    fn staging(&self, job: JobId) -> PathBuf {
        self.root.join(STAGING).join(format!("{job}-{}", random_hex::<8>()))
    }
}

#[async_trait]
impl ArtifactPort for ArtifactFiles {
    async fn stage(&self, job: JobId, fence: &Fence) -> Result<Box<dyn StagedArtifacts>, PortError> {
        failpoint!("artifacts.stage");
        let folder = StagingFolder(self.staging(job));
        fs::create_dir_all(folder.0.join(FILES)).await.map_err(away)?;
        let target = self.folder(job, fence);
        let reserve = self.reserve;
        let (folders, under_way) = (BTreeSet::new(), VecDeque::new());
        Ok(Box::new(Staged { folder, target, folders, under_way, current: None, reserve, unchecked: 0 }))
    }

    async fn list(&self, job: JobId, fence: &Fence) -> Result<Option<Bytes>, PortError> {
        match fs::read(self.folder(job, fence).join(LIST)).await {
            Ok(list) => Ok(Some(list.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(away(error)),
        }
    }

    async fn open(
        &self,
        job: JobId,
        fence: &Fence,
        path: &ArtifactPath,
        offset: u64,
    ) -> Result<Option<Box<dyn ArtifactReader>>, PortError> {
        let mut file = match fs::File::open(self.folder(job, fence).join(FILES).join(path.as_str())).await {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(away(error)),
        };
        file.seek(SeekFrom::Start(offset)).await.map_err(away)?;
        Ok(Some(Box::new(FileReader(file))))
    }

    async fn delete(&self, job: JobId) -> Result<(), PortError> {
        failpoint!("artifacts.delete");
        let (folder, gone) = (self.root.join(job.to_string()), StagingFolder(self.staging(job)));
        blocking(move || match std::fs::rename(&folder, &gone.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(not_removed(&folder, error)),
            // It is out of sight; what is left of it if this is cut short is swept later.
            _ => Ok(()),
        })
        .await
    }

    async fn remove_stale(&self) -> Result<(), PortError> {
        let staging = self.root.join(STAGING);
        blocking(move || remove_stale(&staging)).await
    }
}

struct FileReader(fs::File);

#[async_trait]
impl ArtifactReader for FileReader {
    async fn read(&mut self, max: usize) -> Result<Bytes, PortError> {
        let mut buffer = Vec::with_capacity(max);
        (&mut self.0).take(max as u64).read_to_end(&mut buffer).await.map_err(away)?;
        Ok(buffer.into())
    }
}

/// A folder that vanishes unless it was renamed away.
struct StagingFolder(PathBuf);

impl Drop for StagingFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.0.display(), %error, "the staged files could not be deleted");
        }
    }
}

struct Staged {
    folder: StagingFolder,
    target: PathBuf,
    /// The folders that were made below `files`.
    folders: BTreeSet<PathBuf>,
    /// Files that are whole, and maybe not on the disk yet.
    under_way: VecDeque<File>,
    current: Option<Current>,
    reserve: DiskReserve,
    /// Bytes written since the last check of the free space.
    unchecked: u64,
}

struct Current {
    path: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
}

impl Staged {
    fn make_folders_of(&mut self, path: &Path) -> io::Result<()> {
        let files = self.folder.0.join(FILES);
        let missing = path.ancestors().skip(1).take_while(|folder| *folder != files);
        let missing: Vec<&Path> = missing.take_while(|folder| !self.folders.contains(*folder)).collect();
        for folder in missing.into_iter().rev() {
            std::fs::create_dir(folder)?;
            self.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Fails if the disk has less free than its reserve.
    fn check_room(&mut self) -> Result<(), PortError> {
        self.unchecked = 0;
        let room = room_of(&self.folder.0).map_err(away)?;
        if self.reserve.is_used_by(&room) {
            let (free, reserve) = (room.free_bytes, self.reserve.bytes_of(&room));
            let sentence =
                format!("the disk of the artifacts has {free} bytes free, and {reserve} must stay free (DISK_RESERVE)");
            return Err(PortError::Unavailable(sentence.into()));
        }
        Ok(())
    }

    /// Writes what was staged to the disk, so that it survives a crash of this machine.
    fn sync(&self) -> io::Result<()> {
        self.under_way.iter().try_for_each(File::sync_all)?;
        self.folders.iter().try_for_each(|folder| sync(folder))?;
        sync(&self.folder.0.join(FILES))?;
        sync(&self.folder.0)
    }
}

#[async_trait]
impl StagedArtifacts for Staged {
    fn begin(&mut self, path: &ArtifactPath) -> Result<(), PortError> {
        self.check_room()?;
        let path = self.folder.0.join(FILES).join(path.as_str());
        self.make_folders_of(&path).map_err(away)?;
        let file = File::options().write(true).create_new(true).open(&path).map_err(away)?;
        self.current = Some(Current { path, file, digest: Sha256::new(), bytes: 0 });
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), PortError> {
        self.unchecked += chunk.len() as u64;
        if self.unchecked > CHECK_EVERY_BYTES {
            self.check_room()?;
        }
        let current = self.current.as_mut().ok_or_else(no_file)?;
        current.file.write_all(chunk).map_err(away)?;
        current.digest.update(chunk);
        current.bytes += chunk.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> Result<StagedArtifact, PortError> {
        let Current { file, digest, bytes, .. } = self.current.take().ok_or_else(no_file)?;
        // A hint to begin writing; where it is not taken, syncing does it all.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        self.under_way.push_back(file);
        if self.under_way.len() > UNDER_WAY {
            self.under_way.pop_front().map_or(Ok(()), |first| first.sync_all()).map_err(away)?;
        }
        Ok(StagedArtifact { bytes, sha256: hex::encode(digest.finalize()) })
    }

    fn discard(&mut self) -> Result<(), PortError> {
        let Current { path, .. } = self.current.take().ok_or_else(no_file)?;
        std::fs::remove_file(path).map_err(away)
    }

    async fn publish(self: Box<Self>, list: Bytes) -> Result<String, PortError> {
        failpoint!("artifacts.publish.before");
        let digest = blocking(move || {
            std::fs::write(self.folder.0.join(LIST), &list)?;
            sync(&self.folder.0.join(LIST))?;
            self.sync()?;
            let job = self.target.parent().unwrap_or(&self.target);
            std::fs::create_dir_all(job)?;
            if self.target.exists() {
                std::fs::remove_dir_all(&self.target)?;
            }
            std::fs::rename(&self.folder.0, &self.target)?;
            sync(job)?;
            job.parent().map_or(Ok(()), sync)?;
            Ok(hex::encode(Sha256::digest(&list)))
        });
        let digest = digest.await?;
        failpoint!("artifacts.publish.after");
        Ok(digest)
    }
}

/// Removes the leftovers of killed processes. Other hosts may still be at work here.
fn remove_stale(staging: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(staging)? {
        let entry = entry?;
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_stale = modified.is_ok_and(|at| at.elapsed().unwrap_or_default() > STALE);
        // It may be gone by now.
        if is_stale && std::fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!(folder = %entry.path().display(), "deleted the files of a broken store of artifacts");
        }
    }
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, PortError> {
    let done = spawn_blocking(work).await.map_err(unfinished)?;
    done.map_err(away)
}

fn away(error: io::Error) -> PortError {
    let sentence = format!("the artifacts can't be reached: {error}");
    PortError::Unavailable(Problem::caused_by(error, sentence))
}

fn unfinished(error: JoinError) -> PortError {
    let sentence = error.to_string();
    PortError::Unavailable(Problem::caused_by(error, sentence))
}

fn no_file() -> PortError {
    PortError::Corrupt("no artifact was begun".into())
}
