//! What is in an output directory: which files are to be kept, and which entries are not and why.
//!
//! Names only; nothing is opened but folders. The memory used does not depend on how many entries there are.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use events::artifacts::{is_table, is_visualization};
use events::{ArtifactList, ArtifactPath};
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, statat};

use super::life::{Life, Stopped};
use crate::output;

/// How many entries are looked at.
const MAX_ENTRIES: u64 = 1_000_000;

/// What was found.
pub(super) struct Survey {
    /// The files to keep, in the order in which they are: should not all fit, results and pictures come first.
    pub(super) files: BTreeSet<(Rank, ArtifactPath)>,
    /// What is not kept.
    pub(super) list: ArtifactList,
}

/// What is kept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Shown,
    Other,
}

impl Rank {
    fn of(path: &ArtifactPath) -> Self {
        let is_shown = path.as_str() == "metrics.json" || is_visualization(path) || is_table(path);
        if is_shown { Self::Shown } else { Self::Other }
    }
}

/// Looks at everything below `output`, and finds at most `max_files` files to keep.
pub(super) fn survey(output: OwnedFd, max_files: usize, life: &Life) -> Result<Survey, Stopped> {
    let found = Survey { files: BTreeSet::new(), list: ArtifactList::default() };
    let mut walk = Walk { found, max_files, life, entries: 0 };
    walk.folder(output, "")?;
    Ok(walk.found)
}

struct Walk<'a> {
    found: Survey,
    max_files: usize,
    life: &'a Life,
    entries: u64,
}

impl Walk<'_> {
    /// Goes no deeper than paths may be, so that neither the stack nor the open folders are many.
    fn folder(&mut self, folder: OwnedFd, path: &str) -> Result<(), Stopped> {
        let mut entries = match Dir::new(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.skip(path.to_owned(), format!("the folder can't be read: {error}"));
                return Ok(());
            }
        };
        while let Some(entry) = entries.read() {
            self.life.sign()?;
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(_) if self.entries >= MAX_ENTRIES => {
                    self.skip(path.to_owned(), "there is too much: the rest was not looked at");
                    return Ok(());
                }
                Ok(entry) => {
                    self.entries += 1;
                    self.entry(&entries, &entry, path)?;
                }
                Err(error) => {
                    self.skip(path.to_owned(), format!("the folder can't be read further: {error}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, folder: &Dir, entry: &DirEntry, within: &str) -> Result<(), Stopped> {
        let shown = joined(within, &entry.file_name().to_string_lossy());
        let Ok(name) = entry.file_name().to_str() else {
            self.skip(shown, "its name is not UTF-8");
            return Ok(());
        };
        let path = match joined(within, name).parse::<ArtifactPath>() {
            Ok(path) => path,
            Err(rule) => {
                self.skip(shown, rule.to_string());
                return Ok(());
            }
        };
        match kind(folder, entry) {
            FileType::RegularFile => self.keep(path),
            FileType::Directory => {
                let opened = folder.fd().and_then(|folder| output::open_folder(folder, name));
                match opened {
                    Ok(opened) => self.folder(opened, path.as_str())?,
                    Err(error) => self.skip(shown, format!("the folder can't be opened: {error}")),
                }
            }
            FileType::Symlink => self.skip(shown, "a symbolic link"),
            FileType::Fifo => self.skip(shown, "a fifo"),
            FileType::Socket => self.skip(shown, "a socket"),
            FileType::CharacterDevice | FileType::BlockDevice => self.skip(shown, "a device"),
            FileType::Unknown => self.skip(shown, "of an unknown kind"),
        }
        Ok(())
    }

    fn keep(&mut self, path: ArtifactPath) {
        self.found.files.insert((Rank::of(&path), path));
        if self.found.files.len() > self.max_files {
            self.found.files.pop_last();
            self.found.list.left_out_count += 1;
        }
    }

    fn skip(&mut self, path: String, reason: impl Into<String>) {
        self.found.list.skip(path, reason);
    }
}

/// What an entry is. Not every file system tells that with the name.
fn kind(folder: &Dir, entry: &DirEntry) -> FileType {
    match entry.file_type() {
        FileType::Unknown => {
            let stat = folder.fd().and_then(|fd| statat(fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW));
            stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
        }
        known => known,
    }
}

fn joined(within: &str, name: &str) -> String {
    if within.is_empty() { name.to_owned() } else { format!("{within}/{name}") }
}
