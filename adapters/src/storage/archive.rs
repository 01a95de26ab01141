//! The rules that every archive must keep, whatever its format.
//!
//! Nothing is unpacked by a library's own `unpack`: entries are listed, judged one by one, and written by us into a
//! directory that holds nothing but what we wrote.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};

use events::ports::{ArchiveLimits, FileName, StorageError};
use nix::errno::Errno;

use super::encoding::Encoding;
use super::names::{Name, Names, is_left_out, may_be_apple_double};
use super::{tar_gz, zip_file};

/// How a file begins in which macOS keeps the attributes of another.
const APPLE_DOUBLE: [u8; 4] = [0, 5, 0x16, 7];

/// A rule that an archive breaks, carried through `io::Error` where a library stands between.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

/// What is wrong with the content of an entry, carried in the same way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Flaw(pub(super) &'static str);

/// What is done with the entries of an archive.
pub(super) trait Sink {
    /// A file of the tree. What is not read of it is skipped.
    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<()>;
}

/// What all archives of a submission have used of their limits.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Usage {
    entries: usize,
    unpacked_bytes: u64,
}

/// How an archive is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) limits: &'a ArchiveLimits,
    /// The encoding of names that are not UTF-8, if it is known.
    pub(super) encoding: Option<Encoding>,
    /// The folder whose content is at the root.
    pub(super) root: Option<&'a str>,
}

/// What an archive was found to hold.
pub(super) struct Found {
    pub(super) names: Names,
    /// The one folder at its top, if there is nothing beside it.
    pub(super) top_folder: Option<String>,
}

/// One archive being read: its paths, and what is left to it.
pub(super) struct Tree<'a> {
    how: How<'a>,
    usage: &'a mut Usage,
    sink: &'a mut dyn Sink,
    names: Names,
    entries: usize,
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

impl Tree<'_> {
    pub(super) const fn limits(&self) -> &ArchiveLimits {
        self.how.limits
    }

    pub(super) const fn is_without_entries(&self) -> bool {
        self.entries == 0
    }

    /// Counts one entry and reads its name. `None` for an entry that is passed over.
    pub(super) fn name(&mut self, raw: &[u8]) -> io::Result<Option<Name>> {
        let ArchiveLimits { entries, total_entries, .. } = *self.how.limits;
        self.entries += 1;
        self.usage.entries += 1;
        if self.entries > entries {
            return refuse(format!("has more than {entries} entries; pack many small files into fewer larger ones"));
        }
        if self.usage.entries > total_entries {
            return refuse(format!(
                "is one too many: the archives of a submission may have {total_entries} entries in all"
            ));
        }
        let name = match self.names.read(raw, self.how.limits) {
            Ok(Some(name)) if !is_left_out(&name.path) => name,
            Ok(_) => return Ok(None),
            Err(rule) => return refuse(rule),
        };
        let Some(root) = self.how.root else { return Ok(Some(name)) };
        match name.path.strip_prefix(root) {
            Some("") => Ok(None),
            Some(rest) if rest.starts_with('/') => Ok(Some(Name { path: rest[1..].to_owned(), ..name })),
            // By its content it is left out.
            _ if may_be_apple_double(&name.path) => Ok(Some(name)),
            _ => refuse(format!("holds {:?} beside its root {root:?}", name.path)),
        }
    }

    /// Takes one entry in.
    pub(super) fn entry(&mut self, name: Name, kind: Kind, content: &mut dyn Read) -> io::Result<()> {
        let path = name.path;
        match kind {
            Kind::Other(what) => refuse(format!("entry {path:?} is a {what}; only files and folders are taken")),
            Kind::Folder if self.files.contains(&path) => refuse(format!("{path:?} is both a file and a folder")),
            Kind::Folder => self.folder(&path),
            Kind::File { executable } => self.file(path, executable, content),
        }
    }

    fn file(&mut self, path: String, executable: bool, content: &mut dyn Read) -> io::Result<()> {
        let mut head = Vec::new();
        if may_be_apple_double(&path) {
            content.take(4).read_to_end(&mut head).map_err(|error| damaged(&path, error))?;
            if head == APPLE_DOUBLE {
                return Ok(());
            }
        }
        if self.folders.contains(&path) {
            return refuse(format!("{path:?} is both a file and a folder"));
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        if !self.files.insert(path.clone()) {
            return refuse(format!("holds {path:?} twice"));
        }
        self.sink.file(&path, executable, &mut head.chain(content)).map_err(|error| damaged(&path, error))
    }

    /// Counts bytes as they are unpacked.
    pub(super) fn spend(&mut self, path: &str, bytes: u64) -> io::Result<()> {
        self.usage.unpacked_bytes = self.usage.unpacked_bytes.saturating_add(bytes);
        let limit = self.how.limits.unpacked_bytes;
        if self.usage.unpacked_bytes <= limit {
            return Ok(());
        }
        let limit = limit >> 20;
        refuse(format!(
            "unpacks to more than {limit} MiB at entry {path:?}, all archives of the submission taken together; leave \
             out what the job does not need"
        ))
    }

    /// Refuses a large entry that is packed more tightly than data is.
    pub(super) fn judge_ratio(&self, path: &str, unpacked: u64, packed: u64) -> io::Result<()> {
        let ArchiveLimits { ratio, ratio_from_bytes, .. } = *self.how.limits;
        if unpacked <= ratio_from_bytes || unpacked <= packed.saturating_mul(ratio) {
            return Ok(());
        }
        let (unpacked, from) = (unpacked >> 20, ratio_from_bytes >> 20);
        refuse(format!(
            "looks like a bomb: entry {path:?} inflates from {packed} bytes to {unpacked} MiB. An entry of more than \
             {from} MiB may be at most {ratio} times its packed size; split it, or have the job make it"
        ))
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

    /// The folder that holds everything, if there is one.
    fn top_folder(&self) -> Option<String> {
        let mut tops = self.folders.iter().filter(|folder| !folder.contains('/'));
        let top = tops.next().filter(|_| tops.next().is_none())?;
        let is_alone = self.files.iter().all(|file| file.contains('/'));
        is_alone.then(|| top.clone())
    }
}

/// The content of an entry at exactly the size that its header says.
pub(super) struct Announced<R> {
    pub(super) inner: R,
    pub(super) left: u64,
}

impl<R: Read> Read for Announced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::other(Flaw("it is shorter than its header says")));
        }
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(Flaw("it is longer than its header says"))),
        }
        Ok(read)
    }
}

/// An entry whose content can't be read is its author's to cure, unless the system says otherwise.
fn damaged(path: &str, error: io::Error) -> io::Error {
    if is_refusal(&error) || is_of_system(&error) {
        return error;
    }
    let why = in_words(&error);
    let rule = format!("is damaged: the content of entry {path:?} can't be read ({why}). Make the archive anew");
    io::Error::other(Refusal(rule))
}

fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Refusal>)
}

pub(super) fn refuse<T>(rule: String) -> io::Result<T> {
    Err(io::Error::other(Refusal(rule)))
}

/// Reads the archive `name` and hands its files to `sink`.
///
/// # Errors
/// [`StorageError::Refused`] with a sentence that names the archive and the culprit, or an error of the disk.
pub(super) fn read(
    name: &FileName,
    file: File,
    how: How<'_>,
    usage: &mut Usage,
    sink: &mut dyn Sink,
) -> Result<Found, StorageError> {
    let names = Names::of(how.encoding);
    let mut tree = Tree { how, usage, sink, names, entries: 0, files: BTreeSet::new(), folders: BTreeSet::new() };
    let done =
        if name.as_str().ends_with(".zip") { zip_file::read(file, &mut tree) } else { tar_gz::read(file, &mut tree) };
    match done {
        Ok(()) => Ok(Found { top_folder: tree.top_folder(), names: tree.names }),
        Err(error) if is_of_system(&error) => {
            Err(StorageError::Io { context: format!("reading {}", name.as_str()), source: error })
        }
        Err(error) => Err(StorageError::Refused(format!("archive {:?} {}", name.as_str(), sentence(&error)))),
    }
}

/// Whether an error is the system's, and not about a name that the archive brings.
fn is_of_system(error: &io::Error) -> bool {
    let about_names = [Errno::EEXIST, Errno::ENOTDIR, Errno::EISDIR, Errno::ENAMETOOLONG, Errno::EINVAL, Errno::EILSEQ];
    error.raw_os_error().is_some_and(|number| !about_names.contains(&Errno::from_raw(number)))
        || matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn sentence(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(Refusal(rule)) => rule.clone(),
        None => format!("is damaged, or is of another format ({}). Make the archive anew", in_words(error)),
    }
}

/// What a library says of the bytes that it was given, in words of ours.
fn in_words(error: &io::Error) -> &'static str {
    if let Some(Flaw(flaw)) = error.get_ref().and_then(|inner| inner.downcast_ref::<Flaw>()) {
        return flaw;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early",
        io::ErrorKind::InvalidData => "its checksum is wrong, or it is not what its header says",
        _ => "it is not as this format has it",
    }
}
