//! `.zip`, entry by entry in the order of its directory.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use zip::read::ZipFileEntry;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::names::Name;
use super::refusal::{Flaw, refuse};
use super::tree::{Announced, Kind, Tree};
use super::zip_source::{ZipSource, begins_with_end};

/// What may be read to find the directory and to read it, in bytes: so much, and so much for each entry. All of the
/// directory is kept in memory, whatever the archive says of its size.
const DIRECTORY_BYTES: u64 = 1 << 20;
const DIRECTORY_BYTES_PER_ENTRY: u64 = 512;

pub(super) fn read(file: File, tree: &mut Tree<'_>) -> io::Result<()> {
    let size = file.metadata()?.len();
    let most = tree.limits().entries;
    let left = Rc::new(Cell::new(DIRECTORY_BYTES + DIRECTORY_BYTES_PER_ENTRY * most as u64));
    let source = ZipSource::open(file.try_clone()?, size, Rc::clone(&left))?;
    let mut archive = ZipArchive::new(BufReader::new(source)).or_else(|error| match error {
        ZipError::Io(error) => Err(error),
        other => refuse(format!("is not a zip file, or is damaged: {}. Make the archive anew", in_words(&other))),
    })?;
    left.set(u64::MAX);
    if archive.is_empty() && !begins_with_end(&file)? {
        return refuse(format!(
            "ends with a directory without entries, though {size} bytes lie before its end: something was added to it, or \
             it is cut. Make the archive anew"
        ));
    }
    if archive.len() > most {
        return refuse(format!("has more than {most} entries; pack many small files into fewer larger ones"));
    }
    if archive.has_duplicate_names() {
        return refuse("holds two entries of one name".to_owned());
    }
    if archive.offset() > 0 {
        tree.ignore("before its beginning");
    }
    if !ends_with_end(&file, size, archive.comment().len())? {
        tree.ignore("behind its end");
    }
    let mut packed_bytes = 0_u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(unreadable)?;
        let Some(name) = tree.name(entry.name_raw())? else { continue };
        let kind = classify(&entry, &name);
        let (path, size_unpacked, packed) = (name.path.clone(), entry.size(), entry.compressed_size());
        if !matches!(kind, Kind::File { .. }) {
            tree.entry(name, kind, &mut io::empty())?;
            continue;
        }
        refuse_unreadable(&entry, &path)?;
        packed_bytes = packed_bytes.saturating_add(packed);
        if packed_bytes > size {
            return refuse(format!("holds entries that overlap, such as {path:?}: it looks like a bomb"));
        }
        tree.judge_ratio(&path, size_unpacked, packed)?;
        tree.spend(&path, size_unpacked)?;
        let content = archive.by_index(index).or_else(|error| refuse(broken(&path, error)))?;
        // An entry may lie about its size: it gives as many bytes as it announced, or is refused.
        tree.entry(name, kind, &mut Announced { inner: content, left: size_unpacked })?;
    }
    Ok(())
}

/// Whether the record of the end, with a comment of this length, is the last of a zip.
fn ends_with_end(file: &File, size: u64, comment: usize) -> io::Result<bool> {
    const RECORD_BYTES: u64 = 22;
    let mut signature = [0; 4];
    let Some(at) = size.checked_sub(RECORD_BYTES + comment as u64) else { return Ok(false) };
    file.read_exact_at(&mut signature, at)?;
    Ok(signature == *b"PK\x05\x06")
}

fn classify(entry: &ZipFileEntry<'_>, name: &Name) -> Kind {
    let mode = entry.unix_mode().unwrap_or(0);
    match mode & 0o170_000 {
        0 | 0o100_000 if name.is_folder => Kind::Folder,
        0 | 0o100_000 => Kind::File { executable: mode & 0o111 != 0 },
        0o040_000 => Kind::Folder,
        0o120_000 => Kind::Other("symbolic link"),
        0o010_000 => Kind::Other("fifo"),
        _ => Kind::Other("device or socket"),
    }
}

/// Refuses what no reader here can read: encrypted entries, and rare compression methods.
fn refuse_unreadable(entry: &ZipFileEntry<'_>, path: &str) -> io::Result<()> {
    if entry.encrypted() {
        return refuse(format!("has an encrypted entry, {path:?}. Make the archive without a password"));
    }
    match entry.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated => Ok(()),
        other => refuse(format!(
            "has an entry that is compressed by {other}, {path:?}. Make the archive with deflate, the usual method, or \
             without compression"
        )),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what or_else gives")]
fn broken(path: &str, error: ZipError) -> String {
    format!("is damaged: entry {path:?} can't be read ({}). Make the archive anew", in_words(&error))
}

fn unreadable(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        other => io::Error::other(Flaw(in_words(&other))),
    }
}

/// What the library says of an archive, in words of ours.
fn in_words(error: &ZipError) -> &'static str {
    match error {
        ZipError::FileNotFound => "its directory names an entry that it does not hold",
        ZipError::UnsupportedArchive(_) => "it is of a kind that is not read, such as one in several parts",
        _ => "its directory can't be read",
    }
}
