//! The rules that every archive must keep, whatever its format.
//!
//! Nothing is unpacked by a library's own `unpack`: entries are listed, judged one by one, and written by us into a
//! directory that holds nothing but what we wrote.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use events::ports::{ArchiveLimits, FileName, StorageError};
use nix::errno::Errno;

use super::{tar_gz, work_path, zip_file};

/// A rule that an archive breaks, carried through `io::Error` where a library stands between.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// What is done with the entries of an archive.
pub(super) trait Sink {
    /// A file of the tree. What is not read of it is skipped.
    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<()>;
}

/// What all archives of a submission have used of their limits.
#[derive(Debug, Default)]
pub(super) struct Usage {
    entries: usize,
    unpacked_bytes: u64,
}

/// One archive being read: its paths, and what is left to it.
pub(super) struct Tree<'a> {
    /// The size of the archive itself.
    size: u64,
    limits: &'a ArchiveLimits,
    usage: &'a mut Usage,
    sink: &'a mut dyn Sink,
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        executable: bool,
    },
    Folder,
    /// Anything else, by the name people know it by.
    Other(&'static str),
}

/// What any archive may unpack to, however small it is itself.
const FREE_BYTES: u64 = 1 << 20;

impl Tree<'_> {
    /// How much an archive of this size may inflate to.
    pub(super) fn allowed_bytes(&self) -> u64 {
        FREE_BYTES.saturating_add(self.size.saturating_mul(self.limits.ratio))
    }

    pub(super) fn limits(&self) -> &ArchiveLimits {
        self.limits
    }

    /// Takes one entry in.
    pub(super) fn entry(&mut self, raw_name: &[u8], kind: Kind, content: &mut dyn Read) -> io::Result<()> {
        self.usage.entries += 1;
        if self.usage.entries > self.limits.entries {
            return refuse(format!("has more than {} entries", self.limits.entries));
        }
        let path = match work_path::normalise(raw_name, self.limits) {
            Ok(Some(path)) => path,
            Ok(None) => return Ok(()),
            Err(rule) => return refuse(rule),
        };
        match kind {
            Kind::Other(what) => refuse(format!("entry {path:?} is a {what}; only files and folders are taken")),
            Kind::Folder if self.files.contains(&path) => refuse(format!("{path:?} is both a file and a folder")),
            Kind::Folder => self.folder(&path),
            Kind::File { executable } => {
                if self.folders.contains(&path) {
                    return refuse(format!("{path:?} is both a file and a folder"));
                }
                if let Some((parent, _)) = path.rsplit_once('/') {
                    self.folder(parent)?;
                }
                if !self.files.insert(path.clone()) {
                    return refuse(format!("holds {path:?} twice"));
                }
                self.sink.file(&path, executable, content)
            }
        }
    }

    /// Counts bytes as they are unpacked.
    pub(super) fn spend(&mut self, bytes: u64) -> io::Result<()> {
        spend(&mut self.usage.unpacked_bytes, bytes, self.limits)
    }

    fn folder(&mut self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let folder = &path[..end];
            if self.files.contains(folder) {
                return refuse(format!("{folder:?} is both a file and a folder"));
            }
            self.folders.insert(folder.to_owned());
        }
        Ok(())
    }
}

fn spend(used: &mut u64, bytes: u64, limits: &ArchiveLimits) -> io::Result<()> {
    *used = used.saturating_add(bytes);
    if *used > limits.unpacked_bytes {
        return refuse(format!("unpacks to more than {} MiB", limits.unpacked_bytes >> 20));
    }
    Ok(())
}

/// The refusal of what inflates to more than [`Tree::allowed_bytes`].
pub(super) fn refuse_bomb<T>() -> io::Result<T> {
    refuse("inflates to far more than its own size: it looks like a bomb".to_owned())
}

pub(super) fn refuse<T>(rule: String) -> io::Result<T> {
    Err(io::Error::other(Refusal(rule)))
}

/// Reads the archive `name` at `path` and hands its files to `sink`.
///
/// # Errors
/// [`StorageError::Refused`] with a sentence that names the archive and the culprit, or an error of the disk.
pub(super) fn read(
    name: &FileName,
    path: &Path,
    limits: &ArchiveLimits,
    usage: &mut Usage,
    sink: &mut dyn Sink,
) -> Result<(), StorageError> {
    let disk = |source| StorageError::Io { context: format!("reading {}", name.as_str()), source };
    let file = File::open(path).map_err(disk)?;
    let size = file.metadata().map_err(disk)?.len();
    let mut tree = Tree { size, limits, usage, sink, files: BTreeSet::new(), folders: BTreeSet::new() };
    let done =
        if name.as_str().ends_with(".zip") { zip_file::read(file, &mut tree) } else { tar_gz::read(file, &mut tree) };
    done.map_err(|error| {
        if is_of_the_disk(&error) {
            return disk(error);
        }
        StorageError::Refused(format!("archive {:?} {}", name.as_str(), sentence(&error)))
    })
}

/// Whether an error is the system's, and not about a name that the archive brings.
fn is_of_the_disk(error: &io::Error) -> bool {
    let about_names = [Errno::EEXIST, Errno::ENOTDIR, Errno::EISDIR, Errno::ENAMETOOLONG, Errno::EINVAL, Errno::EILSEQ];
    error.raw_os_error().is_some_and(|number| !about_names.contains(&Errno::from_raw(number)))
}

fn sentence(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(Refusal(rule)) => rule.clone(),
        None => format!("can't be read: {error}"),
    }
}

/// Lists the files of a tree.
#[derive(Debug, Default)]
pub(super) struct Listing(pub(super) Vec<String>);

impl Sink for Listing {
    fn file(&mut self, path: &str, _executable: bool, _content: &mut dyn Read) -> io::Result<()> {
        self.0.push(path.to_owned());
        Ok(())
    }
}

/// Writes the files of a tree beneath a directory that is private to us and held nothing before.
pub(super) struct Unpack<'a> {
    pub(super) into: &'a Path,
}

impl Sink for Unpack<'_> {
    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<()> {
        let target = self.into.join(path);
        if let Some(folder) = target.parent() {
            match fs::create_dir_all(folder).map_err(|error| (error.kind(), error)) {
                Err((io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory, _)) => {
                    return refuse(format!(
                        "holds {path:?}, but another file of the submission has the name of its folder"
                    ));
                }
                made => made.map_err(|(_, error)| error)?,
            }
        }
        let mode = if executable { 0o755 } else { 0o644 };
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return refuse(format!("holds {path:?}, which another file of the submission brings too"));
            }
            opened => opened?,
        };
        io::copy(content, &mut file)?;
        file.flush()
    }
}
