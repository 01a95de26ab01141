//! `.tar.gz`, read entry by entry.
//!
//! The tar crate is asked for raw entries: its own handling of long names reads them whole into memory, whatever their
//! size.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use tar::{Archive, EntryType, PaxExtensions};

use super::members::Members;
use super::names::Name;
use super::refusal::refuse;
use super::tree::{Announced, Kind, Tree};

/// The largest header extension: names are far shorter.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;
/// What headers and padding may take beside the content, in bytes.
const OVERHEAD_BYTES: u64 = 64 << 20;

pub(super) fn read(file: File, tree: &mut Tree<'_>) -> io::Result<()> {
    let packed = Rc::new(Cell::new(0));
    let source = Consumed { inner: BufReader::new(file), count: Rc::clone(&packed) };
    let left = tree.limits().unpacked_bytes.saturating_add(OVERHEAD_BYTES);
    let mut archive = Archive::new(Bounded { inner: Members::new(source), left });
    let mut extension = Extension::default();
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if is_extension(kind) {
            if entry.size() > MAX_EXTENSION_BYTES {
                return refuse("has a header extension that is too large".to_owned());
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            extension.add(kind, bytes)?;
            continue;
        }
        let Extension { path, wrong } = std::mem::take(&mut extension);
        let raw = path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let Some(name) = tree.name(&raw)? else {
            io::copy(&mut entry, &mut io::sink())?;
            continue;
        };
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let kind = wrong.map_or_else(|| classify(kind, &name, executable), Kind::Other);
        let (path, size, before) = (name.path.clone(), entry.size(), packed.get());
        tree.spend(&path, size)?;
        let mut content = Announced { inner: entry, left: size };
        tree.entry(name, kind, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        tree.judge_ratio(&path, size, packed.get() - before)?;
    }
    // The sum of the last member is behind the end of the tar.
    let mut behind = Behind::default();
    io::copy(&mut archive.into_inner(), &mut behind)?;
    if tree.is_without_entries() && behind.holds_something {
        return refuse(
            "ends before its first entry, though something follows: it is damaged. Make the archive anew".to_owned(),
        );
    }
    if behind.holds_something {
        tree.ignore("behind its end");
    }
    Ok(())
}

/// What follows the end of a tar, where only zeros may be.
#[derive(Default)]
struct Behind {
    holds_something: bool,
}

impl Write for Behind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.holds_something |= bytes.iter().any(|byte| *byte != 0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const fn is_extension(kind: EntryType) -> bool {
    matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader)
}

fn classify(kind: EntryType, name: &Name, executable: bool) -> Kind {
    match kind {
        // As tars before POSIX name folders.
        EntryType::Regular if name.is_folder => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File { executable },
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Other("symbolic link"),
        EntryType::Link => Kind::Other("hard link"),
        EntryType::Char | EntryType::Block => Kind::Other("device"),
        EntryType::Fifo => Kind::Other("fifo"),
        EntryType::GNUSparse => Kind::Other("sparse file"),
        _ => Kind::Other("special entry"),
    }
}

/// What headers before an entry say of it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    /// Why the entry is not taken.
    wrong: Option<&'static str>,
}

impl Extension {
    fn add(&mut self, kind: EntryType, mut bytes: Vec<u8>) -> io::Result<()> {
        match kind {
            EntryType::GNULongName => {
                bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
                self.path = Some(bytes);
            }
            EntryType::XHeader => {
                for record in PaxExtensions::new(&bytes) {
                    let record = record?;
                    match record.key_bytes() {
                        b"path" => self.path = Some(record.value_bytes().to_vec()),
                        // It would have us and others see different entries.
                        b"size" => self.wrong = Some("file with its size in a pax header"),
                        key if key.starts_with(b"GNU.sparse") => self.wrong = Some("sparse file"),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Counts what was taken out of a buffer.
struct Consumed<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Consumed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Consumed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.count.set(self.count.get() + bytes as u64);
        self.inner.consume(bytes);
    }
}

/// Stops what inflates to more than all its files may have, wherever in the tar that is.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return refuse("inflates to more than a submission may have: it looks like a bomb".to_owned()),
        }
        Ok(read)
    }
}
