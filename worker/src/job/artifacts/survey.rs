//! What is in an output directory: which files are to be kept, and which entries are not and why.
//!
//! Names only; nothing is opened but folders. The memory used is bounded however many entries there are.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;

use events::artifacts::{is_table, is_visualization};
use events::ports::PortError;
use events::{ArtifactList, ArtifactPath};
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Stat, statat};
use rustix::io::Errno;

use super::pulse::{Pulse, Stopped};
use crate::machine::open_output;
use crate::machine::platform_fault::is_shortage;

/// How many entries are looked at.
const MAX_ENTRIES: u64 = 1_000_000;
/// Of how many files with several names these are counted.
const MAX_FILES_OF_MANY_NAMES: usize = 50_000;

/// What was found.
pub(crate) struct Survey {
    /// The files to keep, in the order in which they are: should not all fit, results and pictures come first.
    pub(crate) files: BTreeSet<(Rank, ArtifactPath)>,
    /// What is not kept.
    pub(crate) list: ArtifactList,
    /// How many of these entries are links to something else in there: nothing is lost with them.
    pub(crate) inner_links: u64,
    /// How many names each file has that has several.
    pub(crate) names: Names,
}

/// How many names of files with several were found, by device and inode.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<(u64, u64), usize>);

impl Names {
    /// Notes a name; of more than so many files the names are not known.
    fn note(&mut self, stat: &Stat) {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 && (self.0.len() < MAX_FILES_OF_MANY_NAMES || self.0.contains_key(&key)) {
            *self.0.entry(key).or_default() += 1;
        }
    }

    /// Whether all names of a file were found.
    pub(crate) fn are_complete(&self, stat: &Stat) -> bool {
        let found = self.0.get(&(stat.st_dev, stat.st_ino)).copied().unwrap_or(1);
        usize::try_from(stat.st_nlink).is_ok_and(|names| names == found)
    }
}

/// What is kept first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
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
///
/// The inner error is what the machine lacks: then what was found is not all there is.
pub(crate) fn survey(
    (output, path): (&OwnedFd, &Path),
    max_files: usize,
    pulse: &Pulse,
) -> Result<Result<Survey, PortError>, Stopped> {
    let (files, list, names) = (BTreeSet::new(), ArtifactList::default(), Names::default());
    let found = Survey { files, list, inner_links: 0, names };
    let mut walk = Walk { found, output, path, max_files, pulse, entries: 0, lacks: None };
    match open_output::open_folder(output, ".") {
        Ok(opened) => walk.folder(opened, "")?,
        Err(error) if is_shortage(error) => walk.lacks = Some(error),
        Err(error) => walk.skip(String::new(), format!("the folder can't be read: {error}")),
    }
    Ok(walk.lacks.map_or(Ok(walk.found), |error| Err(short(error))))
}

struct Walk<'a> {
    found: Survey,
    output: &'a OwnedFd,
    /// Where that is.
    path: &'a Path,
    max_files: usize,
    pulse: &'a Pulse,
    entries: u64,
    lacks: Option<Errno>,
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
            self.pulse.beat()?;
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
            FileType::RegularFile => {
                let stat = folder.fd().and_then(|folder| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW));
                // What can't be looked at can't be opened later on either, which is told then.
                if let Ok(stat) = stat {
                    self.found.names.note(&stat);
                }
                self.keep(path);
            }
            FileType::Directory => {
                let opened = folder.fd().and_then(|folder| open_output::open_folder(folder, name));
                match opened {
                    Ok(opened) => self.folder(opened, path.as_str())?,
                    Err(error) if is_shortage(error) => self.lacks = Some(error),
                    Err(error) => self.skip(shown, format!("the folder can't be opened: {error}")),
                }
            }
            FileType::Symlink if open_output::stays_within(self.output, self.path, path.as_str()) => {
                self.found.inner_links += 1;
                self.skip(shown, "a symbolic link to something else in there");
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

/// Storing can be tried again: what lacks now may be there in a moment.
pub(crate) fn short(error: Errno) -> PortError {
    PortError::Unavailable(format!("the worker can't look at --output: {error}").into())
}
