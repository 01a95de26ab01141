//! The files of submissions.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::SubmissionId;
use crate::ports::{FileName, Suffixes};
use crate::problem::Problem;
use crate::submission::ArchiveReading;

/// The files of submissions.
#[async_trait]
pub trait StoragePort: Send + Sync {
    /// Begins an upload. Nothing of it is visible until it is published, and nothing stays if it is dropped.
    async fn stage(&self, id: SubmissionId) -> Result<Box<dyn StagedUpload>, StorageError>;

    /// Puts a submission's work tree into the empty directory `into`: its files, and what its archives hold. Archives
    /// are read as `readings` say, which were chosen at the upload.
    async fn fetch(
        &self,
        id: SubmissionId,
        into: &Path,
        limits: &ArchiveLimits,
        readings: &[ArchiveReading],
    ) -> Result<(), StorageError>;

    /// The content of a published submission's `metadata.json`.
    async fn metadata(&self, id: SubmissionId) -> Result<Bytes, StorageError>;

    /// Removes a submission's files; a submission without any is no error.
    async fn delete(&self, id: SubmissionId) -> Result<(), StorageError>;

    /// Whether something can be written.
    async fn probe(&self) -> Result<(), StorageError>;

    /// How much room there is.
    async fn room(&self) -> Result<Room, StorageError>;

    /// Looks at `count` submissions that have files, in the order of their ids, from `after` on.
    async fn published(
        &self,
        after: Option<SubmissionId>,
        count: usize,
        age: Duration,
    ) -> Result<Published, StorageError>;

    /// Removes what uploads left that were broken off long ago.
    async fn remove_stale(&self) -> Result<(), StorageError>;
}

/// Some of the submissions that have files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Those that got them longer ago than was asked for.
    pub ids: Vec<SubmissionId>,
    /// Where to go on; none at the end.
    pub next: Option<SubmissionId>,
}

/// How much room there is for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What can still be written, in bytes.
    pub free_bytes: u64,
    /// All there is, in bytes; 0 where that is not known.
    pub total_bytes: u64,
}

impl Room {
    /// With less than this part free, in percent, nothing new is taken in: what runs needs the rest.
    pub const LEAST_FREE_PERCENT: u64 = 5;

    /// Whether there is too little for anything new.
    #[must_use]
    pub const fn is_scarce(&self) -> bool {
        self.free_bytes < self.total_bytes / 100 * Self::LEAST_FREE_PERCENT
    }
}

/// What must stay free of a disk, so that whatever else needs it can go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskReserve(Option<u64>);

impl DiskReserve {
    /// What stays free of a large disk, in bytes; of a smaller one it is [`Room::LEAST_FREE_PERCENT`].
    pub const DEFAULT_BYTES: u64 = 1 << 30;
    /// So many files and folders must fit, or this part of all, in percent, if that is less.
    const FILES: u64 = 10_000;
    const FILES_PERCENT: u64 = 2;

    /// This many bytes, whatever the disk.
    #[must_use]
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(Some(bytes))
    }

    /// What must stay free of this disk, in bytes.
    #[must_use]
    pub fn bytes_of(self, room: &Room) -> u64 {
        self.0.unwrap_or_else(|| Self::DEFAULT_BYTES.min(room.total_bytes / 100 * Room::LEAST_FREE_PERCENT))
    }

    /// How many files must still fit on a disk that has room for so many in all; 0 if the disk sets no limit.
    #[must_use]
    pub fn files_of(self, total: u64) -> u64 {
        if self.0 == Some(0) { 0 } else { Self::FILES.min(total / 100 * Self::FILES_PERCENT) }
    }

    /// Whether less is free than must stay free.
    #[must_use]
    pub fn is_used_by(self, room: &Room) -> bool {
        room.free_bytes < self.bytes_of(room)
    }
}

/// An upload under way. Files are written one after the other.
#[async_trait]
pub trait StagedUpload: Send + Sync {
    /// Begins the next file.
    async fn begin(&mut self, name: &FileName) -> Result<(), StorageError>;

    /// Adds to the file begun last.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError>;

    /// Ends the file begun last.
    async fn finish(&mut self) -> Result<StagedFile, StorageError>;

    /// Reads a staged archive whole, and checks it against all the rules for archives.
    async fn read_archive(&self, name: &FileName, limits: &ArchiveLimits) -> Result<ArchiveContents, StorageError>;

    /// Makes the files visible under the submission's id, with `metadata` as `metadata.json` beside them.
    async fn publish(self: Box<Self>, metadata: Bytes) -> Result<(), StorageError>;
}

/// A file as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFile {
    /// Its name.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveContents {
    /// The paths of its files, as they will be in the work directory.
    pub paths: Vec<String>,
    /// The one folder at its top that holds everything else, if there is one.
    pub top_folder: Option<String>,
    /// The encoding of the names that are not UTF-8, if there are any.
    pub encoding: Option<String>,
    /// How many names were not UTF-8, or held backslashes.
    pub renamed: usize,
    /// The first of those names, as they were read.
    pub renamed_examples: Vec<String>,
    /// Where the archive has bytes that are not read, such as "behind its end": perhaps a second archive.
    pub ignored: Option<&'static str>,
}

/// What an upload may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadLimits {
    /// The endings that a file name may have.
    pub suffixes: Suffixes,
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// All files together, in bytes.
    pub total_bytes: u64,
    /// How many files.
    pub files: usize,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self { suffixes: Suffixes::default(), file_bytes: 100 << 20, total_bytes: 500 << 20, files: 200 }
    }
}

/// What an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Entries in one archive.
    pub entries: usize,
    /// Entries in all archives of a submission.
    pub total_entries: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes once unpacked, over all archives of a submission.
    pub unpacked_bytes: u64,
    /// How many times larger than its packed size an entry may be, if it has more than `ratio_from_bytes`.
    pub ratio: u64,
    /// The size up to which an entry may be packed as tightly as can be, in bytes.
    pub ratio_from_bytes: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            entries: 10_000,
            total_entries: 50_000,
            depth: 32,
            unpacked_bytes: 2 << 30,
            ratio: 1_000,
            ratio_from_bytes: 100 << 20,
        }
    }
}

/// Why storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is nothing under that id.
    #[error("there are no files of submission {0}")]
    Missing(SubmissionId),
    /// The content breaks a rule: its author's to cure. The sentence names the culprit.
    #[error("{0}")]
    Refused(String),
    /// Storage can't be reached, or refuses: a later request may succeed.
    #[error("storage can't be used: {0}")]
    Away(Problem),
    /// Storage failed: the platform's to cure.
    #[error("storage failed: {context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_scarce_below_a_twentieth_and_never_where_nothing_is_known_of_it() {
        let is_scarce = |free_bytes, total_bytes| Room { free_bytes, total_bytes }.is_scarce();
        assert!(is_scarce(49, 1_000) && is_scarce(0, 1_000) && is_scarce(0, u64::MAX));
        assert!(!is_scarce(50, 1_000) && !is_scarce(1_000, 1_000) && !is_scarce(0, 0));
    }
}
