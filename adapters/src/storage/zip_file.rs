//! `.zip`, entry by entry in the order of its directory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::archive::{Kind, Tree, refuse, refuse_bomb};

/// The end-of-central-directory record without its comment, and the longest comment.
const END_RECORD_BYTES: u64 = 22;
const MAX_COMMENT_BYTES: u64 = 65_535;

pub(super) fn read(mut file: File, tree: &mut Tree<'_>) -> io::Result<()> {
    let entries = announced_entries(&mut file)?;
    if entries > tree.limits().entries {
        return refuse(format!("has more than {} entries", tree.limits().entries));
    }
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
    if archive.len() > tree.limits().entries {
        return refuse(format!("has more than {} entries", tree.limits().entries));
    }
    if archive.has_duplicate_names() {
        return refuse("holds two entries of one name".to_owned());
    }
    let mut announced_bytes = 0_u64;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(unreadable)?;
        let name = entry.name_raw().to_vec();
        let mode = entry.unix_mode().unwrap_or(0);
        let kind = match mode & 0o170_000 {
            0 | 0o100_000 if name.ends_with(b"/") => Kind::Folder,
            0 | 0o100_000 => Kind::File { executable: mode & 0o111 != 0 },
            0o040_000 => Kind::Folder,
            0o120_000 => Kind::Other("symbolic link"),
            0o010_000 => Kind::Other("fifo"),
            _ => Kind::Other("device or socket"),
        };
        let size = entry.size();
        announced_bytes = announced_bytes.saturating_add(size);
        // Also where many entries are the same bytes of the archive.
        if announced_bytes > tree.allowed_bytes() {
            return refuse_bomb();
        }
        tree.spend(size)?;
        // An entry may lie about its size: it gives as many bytes as it announced, or is refused.
        let mut content = Announced { inner: entry, left: size };
        tree.entry(&name, kind, &mut content)?;
    }
    Ok(())
}

/// How many entries the archive says it has, before anything is read into memory for them.
fn announced_entries(file: &mut File) -> io::Result<usize> {
    let size = file.metadata()?.len();
    let tail_bytes = size.min(END_RECORD_BYTES + MAX_COMMENT_BYTES);
    file.seek(SeekFrom::Start(size - tail_bytes))?;
    let mut tail = Vec::new();
    file.take(tail_bytes).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(0))?;
    let record = tail.windows(4).rposition(|window| window == b"PK\x05\x06");
    match record.and_then(|at| tail.get(at + 10..at + 12)) {
        // The mark of zip64, which no archive within our limits needs.
        Some([0xff, 0xff]) => refuse("has more than 65534 entries".to_owned()),
        Some([low, high]) => Ok(usize::from(u16::from_le_bytes([*low, *high]))),
        _ => refuse("is not a zip file".to_owned()),
    }
}

fn unreadable(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

struct Announced<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Announced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return refuse("holds an entry smaller than it says".to_owned());
        }
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return refuse("holds an entry larger than it says".to_owned()),
        }
        Ok(read)
    }
}
