//! Submissions as folders of a directory that all hosts share: `<root>/<submission>/<file>`.
//!
//! An upload is written under `<root>/.staging/` and renamed when it is whole, so that a broken one leaves nothing.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use events::SubmissionId;
use events::ports::{
    ArchiveContents, ArchiveLimits, FileName, Published, Room, StagedFile, StagedUpload, StorageError, StoragePort,
};
use events::submission::ArchiveReading;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;

use super::archives::{Judging, unpack};
use super::{Spent, blocking, failed};
use crate::ids::random_hex;
use crate::removal::remove_folder;

const STAGING: &str = ".staging";
/// How long after its last file was begun an upload is taken to be dead.
const STALE: Duration = Duration::from_hours(24);
const METADATA: &str = FileName::METADATA;
/// Where each board that uses the directory leaves its name.
const BOARDS: &str = ".boards";
/// The name for boards that stored submissions before boards left their names.
const EARLIER: &str = "earlier";

/// Submissions as folders of a directory.
#[derive(Debug, Clone)]
pub struct DirectoryStorage {
    root: PathBuf,
    judging: Judging,
}

impl DirectoryStorage {
    /// The submissions under `root`, which is created when it is missing.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn open(root: PathBuf) -> std::io::Result<Self> {
        let staging = root.join(STAGING);
        std::fs::create_dir_all(&staging)?;
        remove_stale(&staging)?;
        Ok(Self { root, judging: Judging::default() })
    }

    /// Leaves the name of the board whose submissions these are. Where several boards did, what one has no record of may
    /// be another's, or that of one whose Redis was lost and may come back, and [`StoragePort::published`] finds nothing for any of them.
    ///
    /// # Errors
    /// If the name can't be written.
    pub fn of_board(self, name: &str) -> std::io::Result<Self> {
        let boards = self.root.join(BOARDS);
        if !boards.exists() && has_submissions(&self.root)? {
            // Whose these are nobody wrote down: maybe this one's, from before boards left their names.
            std::fs::create_dir_all(&boards)?;
            std::fs::write(boards.join(EARLIER), "")?;
        }
        std::fs::create_dir_all(&boards)?;
        std::fs::write(boards.join(name), "")?;
        if is_shared(&self.root)? {
            tracing::warn!(
                root = %self.root.display(),
                "several boards have used the upload directory, or one that lost its Redis: files that no record tells of \
                 are left there. `.boards` in it names them; remove the names of those that are no more"
            );
        }
        Ok(self)
    }

    fn folder(&self, id: SubmissionId) -> PathBuf {
        self.root.join(id.to_string())
    }
}

#[async_trait]
impl StoragePort for DirectoryStorage {
    async fn stage(&self, id: SubmissionId) -> Result<Box<dyn StagedUpload>, StorageError> {
        let folder = self.root.join(STAGING).join(format!("{id}-{}", random_hex::<8>()));
        fs::create_dir_all(&folder).await.map_err(failed("making a staging folder"))?;
        Ok(Box::new(Staged {
            folder: StagingFolder(folder),
            target: self.folder(id),
            current: None,
            spent: Arc::new(Mutex::new(Spent::default())),
            judging: self.judging.clone(),
        }))
    }

    async fn fetch(
        &self,
        id: SubmissionId,
        into: &Path,
        limits: &ArchiveLimits,
        readings: &[ArchiveReading],
    ) -> Result<(), StorageError> {
        let (from, into, limits, readings) = (self.folder(id), into.to_owned(), *limits, readings.to_vec());
        blocking(move || fetch(id, &from, &into, &limits, &readings)).await
    }

    async fn metadata(&self, id: SubmissionId) -> Result<Bytes, StorageError> {
        match fs::read(self.folder(id).join(METADATA)).await {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StorageError::Missing(id)),
            Err(error) => Err(failed("reading the metadata")(error)),
        }
    }

    async fn delete(&self, id: SubmissionId) -> Result<(), StorageError> {
        let folder = self.folder(id);
        blocking(move || remove_folder(&folder).map_err(failed("removing a submission"))).await
    }

    async fn probe(&self) -> Result<(), StorageError> {
        let path = self.root.join(STAGING).join(format!("probe-{}", random_hex::<8>()));
        fs::write(&path, b"probe").await.map_err(failed("writing to the upload directory"))?;
        fs::remove_file(&path).await.map_err(failed("removing from the upload directory"))
    }

    async fn room(&self) -> Result<Room, StorageError> {
        let root = self.root.clone();
        blocking(move || room_of(&root).map_err(failed("asking how much room there is"))).await
    }

    async fn published(
        &self,
        after: Option<SubmissionId>,
        count: usize,
        age: Duration,
    ) -> Result<Published, StorageError> {
        let root = self.root.clone();
        blocking(move || published(&root, after, count, age).map_err(failed("listing the upload directory"))).await
    }

    async fn remove_stale(&self) -> Result<(), StorageError> {
        let staging = self.root.join(STAGING);
        blocking(move || remove_stale(&staging).map_err(failed("sweeping broken uploads"))).await
    }
}

/// Returns how much room there is on the disk under a folder.
///
/// # Errors
/// If there is no such folder, or it can't be asked.
pub fn room_of(folder: &Path) -> std::io::Result<Room> {
    let found = nix::sys::statvfs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Ok(Room { free_bytes: bytes(found.blocks_available()), total_bytes: bytes(found.blocks()) })
}

/// A folder that vanishes unless it was renamed away.
struct StagingFolder(PathBuf);

impl Drop for StagingFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.0.display(), %error, "a broken upload could not be removed");
        }
    }
}

struct Staged {
    folder: StagingFolder,
    target: PathBuf,
    current: Option<Current>,
    spent: Arc<Mutex<Spent>>,
    judging: Judging,
}

struct Current {
    name: FileName,
    file: File,
    digest: Sha256,
    size: u64,
}

#[async_trait]
impl StagedUpload for Staged {
    async fn begin(&mut self, name: &FileName) -> Result<(), StorageError> {
        let path = self.folder.0.join(name.as_str());
        let file = File::options().write(true).create_new(true).open(path).await.map_err(failed("creating a file"))?;
        self.current = Some(Current { name: name.clone(), file, digest: Sha256::new(), size: 0 });
        Ok(())
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        let current = self.current.as_mut().ok_or_else(no_file)?;
        current.file.write_all(&chunk).await.map_err(failed("writing a file"))?;
        current.digest.update(&chunk);
        current.size += chunk.len() as u64;
        Ok(())
    }

    async fn finish(&mut self) -> Result<StagedFile, StorageError> {
        let mut current = self.current.take().ok_or_else(no_file)?;
        current.file.flush().await.map_err(failed("writing a file"))?;
        current.file.sync_all().await.map_err(failed("syncing a file"))?;
        let sha256 = hex::encode(current.digest.finalize());
        Ok(StagedFile { name: current.name, size: current.size, sha256 })
    }

    async fn read_archive(&self, name: &FileName, limits: &ArchiveLimits) -> Result<ArchiveContents, StorageError> {
        let path = self.folder.0.join(name.as_str());
        let open = move || std::fs::File::open(&path).map_err(failed("opening an archive"));
        self.judging.judge(name, open, limits, &self.spent).await
    }

    async fn publish(self: Box<Self>, metadata: Bytes) -> Result<(), StorageError> {
        let (folder, target) = (self.folder.0.clone(), self.target.clone());
        blocking(move || {
            std::fs::write(folder.join(METADATA), &metadata).map_err(failed("writing the metadata"))?;
            for synced in [&folder.join(METADATA), &folder] {
                sync(synced).map_err(failed("syncing an upload"))?;
            }
            std::fs::rename(&folder, &target).map_err(failed("publishing an upload"))?;
            target.parent().map_or(Ok(()), sync).map_err(failed("syncing the upload directory"))
        })
        .await
    }
}

fn has_submissions(root: &Path) -> std::io::Result<bool> {
    let mut names = std::fs::read_dir(root)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.any(|name| name.parse::<SubmissionId>().is_ok()))
}

/// Whether several boards use the directory.
fn is_shared(root: &Path) -> std::io::Result<bool> {
    match std::fs::read_dir(root.join(BOARDS)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        boards => Ok(boards?.count() > 1),
    }
}

/// Reads all names, and keeps no more than a page of them.
fn published(root: &Path, after: Option<SubmissionId>, count: usize, age: Duration) -> std::io::Result<Published> {
    if is_shared(root)? {
        return Ok(Published { ids: vec![], next: None });
    }
    let mut first = BTreeSet::new();
    let mut is_last = true;
    for entry in std::fs::read_dir(root)? {
        // What has another name is not storage's.
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<SubmissionId>().ok()) else { continue };
        if after.is_some_and(|after| id <= after) {
            continue;
        }
        first.insert(id);
        if first.len() > count {
            first.pop_last();
            is_last = false;
        }
    }
    let next = first.last().copied().filter(|_| !is_last);
    let is_old = |id: &SubmissionId| modified_before(&std::fs::metadata(root.join(id.to_string())), age);
    Ok(Published { ids: first.into_iter().filter(is_old).collect(), next })
}

/// Whether something is there and was last changed longer ago than this.
fn modified_before(metadata: &std::io::Result<std::fs::Metadata>, age: Duration) -> bool {
    let modified = metadata.as_ref().ok().and_then(|metadata| metadata.modified().ok());
    modified.is_some_and(|at| at.elapsed().unwrap_or_default() > age)
}

/// Removes what uploads left that were killed on the way. Others may be under way on other hosts.
fn remove_stale(staging: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(staging)? {
        let entry = entry?;
        // It may be gone by now, with its upload.
        if modified_before(&entry.metadata(), STALE) && std::fs::remove_dir_all(entry.path()).is_ok() {
            tracing::info!(folder = %entry.path().display(), "deleted the files of a broken upload");
        }
    }
    Ok(())
}

fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

fn fetch(
    id: SubmissionId,
    from: &Path,
    into: &Path,
    limits: &ArchiveLimits,
    readings: &[ArchiveReading],
) -> Result<(), StorageError> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(StorageError::Missing(id)),
        entries => entries.map_err(failed("listing a submission"))?,
    };
    let mut spent = Spent::default();
    let mut archives = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("listing a submission"))?.file_name();
        // Whatever is not a name that was taken in, such as the metadata, is not the job's.
        let Some(name) = name.to_str().and_then(FileName::of_stored) else {
            continue;
        };
        let path = from.join(name.as_str());
        if name.is_archive() {
            archives.push((name, path));
        } else {
            std::fs::copy(&path, into.join(name.as_str())).map_err(failed("copying a file"))?;
        }
    }
    for (name, path) in archives {
        let file = std::fs::File::open(&path).map_err(failed("opening an archive"))?;
        unpack(&name, file, into, limits, readings, &mut spent)?;
    }
    Ok(())
}

fn no_file() -> StorageError {
    StorageError::Io { context: "writing a file".to_owned(), source: std::io::Error::other("no file was begun") }
}
