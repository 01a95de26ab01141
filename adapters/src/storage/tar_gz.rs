//! `.tar.gz`, read entry by entry.
//!
//! The tar crate is asked for raw entries: its own handling of long names reads them whole into memory, whatever their
//! size.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType, PaxExtensions};

use super::archive::{Kind, Tree, refuse, refuse_bomb};

/// The largest header extension: names are far shorter.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;

pub(super) fn read(file: File, tree: &mut Tree<'_>) -> io::Result<()> {
    let reader = Counted { inner: MultiGzDecoder::new(BufReader::new(file)), count: 0, allowed: tree.allowed_bytes() };
    let mut archive = Archive::new(reader);
    let mut long_name: Option<Vec<u8>> = None;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let header = entry.header();
        let kind = header.entry_type();
        if matches!(kind, EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader) {
            if entry.size() > MAX_EXTENSION_BYTES {
                return refuse("has a header extension that is too large".to_owned());
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            match kind {
                EntryType::GNULongName => {
                    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
                    long_name = Some(bytes);
                }
                EntryType::XHeader => long_name = pax_path(&bytes)?.or(long_name),
                _ => {}
            }
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
        let size = entry.size();
        tree.spend(size)?;
        let mut content = Counted { inner: entry, count: 0, allowed: size };
        tree.entry(&name, classify(kind, executable), &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        if content.count < size {
            return refuse("ends in the middle of a file".to_owned());
        }
    }
    Ok(())
}

const fn classify(kind: EntryType, executable: bool) -> Kind {
    match kind {
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

/// The path in a pax header, if it names one. A size there would have us and others see different entries.
fn pax_path(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut path = None;
    for extension in PaxExtensions::new(bytes) {
        let extension = extension?;
        match extension.key_bytes() {
            b"path" => path = Some(extension.value_bytes().to_vec()),
            b"size" => return refuse("gives an entry's size in a pax header".to_owned()),
            key if key.starts_with(b"GNU.sparse") => {
                return refuse("holds a sparse file".to_owned());
            }
            _ => {}
        }
    }
    Ok(path)
}

/// Counts what is read, and stops what gives more than it may.
struct Counted<R> {
    inner: R,
    count: u64,
    allowed: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        if self.count > self.allowed {
            return refuse_bomb();
        }
        Ok(read)
    }
}
