//! The server's limits, checked before the upload.

use events::ports::{ArchiveLimits, FileName, Suffixes};

use super::tree::Entry;
use crate::client::http::error::ClientError;
use crate::client::output::human;

const MIB: u64 = 1024 * 1024;

/// The limits of a server with the default settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) file_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) files: usize,
    /// The limits of the archive's content.
    pub(crate) archive: ArchiveLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 100 * MIB, total_bytes: 500 * MIB, files: 200, archive: ArchiveLimits::default() }
    }
}

impl Limits {
    pub(crate) fn check_loose(&self, loose: &[Entry]) -> Result<(), ClientError> {
        for entry in loose {
            FileName::parse(&entry.path, &Suffixes::default())
                .map_err(|refusal| ClientError::usage(format!("{refusal}.")))?;
        }
        match loose.iter().find(|entry| entry.size > self.file_bytes) {
            None => Ok(()),
            Some(entry) => Err(ClientError::usage(format!(
                "{} is {}; a file may have {}.",
                entry.path,
                human::size(entry.size),
                human::size(self.file_bytes)
            ))),
        }
    }

    pub(crate) fn bundle_too_large(&self, entries: &[Entry]) -> ClientError {
        let mut by_size: Vec<&Entry> = entries.iter().collect();
        by_size.sort_by_key(|entry| std::cmp::Reverse(entry.size));
        let largest: Vec<String> =
            by_size.iter().take(3).map(|entry| format!("{} ({})", entry.path, human::size(entry.size))).collect();
        ClientError::usage(format!(
            "packed and compressed, the folder is over {}, the most one file may have; its largest files are {}. \
             Leave out what the job does not need with .gitignore or .ignore.",
            human::size(self.file_bytes),
            largest.join(", ")
        ))
    }

    pub(crate) fn check_whole(&self, files: usize, bytes: u64) -> Result<(), ClientError> {
        if files > self.files {
            return Err(ClientError::usage(format!(
                "{files} files to send, {} are the most: move modules from the top of the folder into a package below it.",
                self.files
            )));
        }
        if bytes > self.total_bytes {
            return Err(ClientError::usage(format!(
                "{} to send, {} are the most.",
                human::size(bytes),
                human::size(self.total_bytes)
            )));
        }
        Ok(())
    }
}
