//! The rules that every archive must keep, whatever its format.
//!
//! No library unpacks an archive. The entries are listed, checked one by one, and written by this crate into a directory
//! that holds nothing else.

use std::collections::BTreeSet;
use std::io::{self, Read};

use events::ports::ArchiveLimits;

use super::names::encoding::Encoding;
use super::names::{Name, Names, is_left_out, may_be_apple_double};
use super::refusal::{Flaw, damaged, refuse};

/// How a file begins in which macOS keeps the attributes of another.
const APPLE_DOUBLE: [u8; 4] = [0, 5, 0x16, 7];

/// Where the files of an archive go.
pub(crate) trait Sink {
    /// Takes a file of the tree. Content that is not read is skipped.
    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<()>;
}

/// What all archives of a submission have spent of their limits.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Spent {
    entries: usize,
    unpacked_bytes: u64,
}

/// How an archive is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How<'a> {
    pub(crate) limits: &'a ArchiveLimits,
    /// The encoding of names that are not UTF-8, if it is known.
    pub(crate) encoding: Option<Encoding>,
    /// The folder whose content is at the root.
    pub(crate) root: Option<&'a str>,
}

/// What an archive was found to hold.
pub(crate) struct Found {
    pub(crate) names: Names,
    /// The one folder at its top, if there is nothing beside it.
    pub(crate) top_folder: Option<String>,
    /// Where bytes are that belong to no entry, as those of a second archive.
    pub(crate) ignored: Option<&'static str>,
}

/// One archive being read: its paths, and what is left to it.
pub(crate) struct Tree<'a> {
    how: How<'a>,
    spent: &'a mut Spent,
    sink: &'a mut dyn Sink,
    names: Names,
    entries: usize,
    ignored: Option<&'static str>,
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File {
        executable: bool,
    },
    Folder,
    /// Anything else, by the name people know it by.
    Other(&'static str),
}

impl<'a> Tree<'a> {
    pub(crate) fn new(how: How<'a>, spent: &'a mut Spent, sink: &'a mut dyn Sink) -> Self {
        let names = Names::of(how.encoding);
        Self { how, spent, sink, names, entries: 0, ignored: None, files: BTreeSet::new(), folders: BTreeSet::new() }
    }

    /// Returns what the archive was found to hold, once it is read.
    pub(crate) fn into_found(self) -> Found {
        Found { top_folder: self.top_folder(), names: self.names, ignored: self.ignored }
    }

    pub(crate) const fn limits(&self) -> &ArchiveLimits {
        self.how.limits
    }

    /// Notes where the archive has bytes that are not read.
    pub(super) const fn ignore(&mut self, place: &'static str) {
        self.ignored = Some(place);
    }

    pub(super) const fn is_without_entries(&self) -> bool {
        self.entries == 0
    }

    /// Counts one entry and reads its name. `None` for an entry that is passed over.
    pub(crate) fn name(&mut self, raw: &[u8]) -> io::Result<Option<Name>> {
        let ArchiveLimits { entries, total_entries, .. } = *self.how.limits;
        self.entries += 1;
        self.spent.entries += 1;
        if self.entries > entries {
            return refuse(format!("has more than {entries} entries; pack many small files into fewer larger ones"));
        }
        if self.spent.entries > total_entries {
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

    /// Checks one entry, and hands a file to the sink.
    pub(crate) fn entry(&mut self, name: Name, kind: Kind, content: &mut dyn Read) -> io::Result<()> {
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
    pub(crate) fn spend(&mut self, path: &str, bytes: u64) -> io::Result<()> {
        self.spent.unpacked_bytes = self.spent.unpacked_bytes.saturating_add(bytes);
        let limit = self.how.limits.unpacked_bytes;
        if self.spent.unpacked_bytes <= limit {
            return Ok(());
        }
        let limit = limit >> 20;
        refuse(format!(
            "unpacks to more than {limit} MiB at entry {path:?}, all archives of the submission taken together; leave \
             out what the job does not need"
        ))
    }

    /// Refuses a large entry that is packed more tightly than data is.
    pub(crate) fn judge_ratio(&self, path: &str, unpacked: u64, packed: u64) -> io::Result<()> {
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
pub(crate) struct Announced<R> {
    pub(crate) inner: R,
    pub(crate) left: u64,
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
