//! A zip file as its library is given it: without a comment that looks like an end, and no more of it than may be read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use super::refusal::refuse;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const ZIP64_LOCATOR: &[u8] = b"PK\x06\x07";
const ZIP64_LOCATOR_BYTES: u64 = 20;
/// The end record without its comment, and the longest comment.
const END_BYTES: u64 = 22;
const MAX_COMMENT_BYTES: u64 = 65_535;

pub(super) struct ZipSource {
    inner: File,
    at: u64,
    /// Where it ends for its reader.
    end: u64,
    /// Whether the two bytes before the end, which are the comment's length, are read as zeros.
    without_comment: bool,
    /// How many bytes may still be read.
    left: Rc<Cell<u64>>,
}

impl ZipSource {
    pub(super) fn open(inner: File, size: u64, left: Rc<Cell<u64>>) -> io::Result<Self> {
        let end = end_before_misleading_comment(&inner, size)?;
        Ok(Self { inner, at: 0, end: end.unwrap_or(size), without_comment: end.is_some(), left })
    }
}

/// Whether the end record is at the beginning, as in an archive of nothing.
pub(super) fn begins_with_end(file: &File) -> io::Result<bool> {
    let mut found = [0; END.len()];
    file.read_exact_at(&mut found, 0)?;
    Ok(found == END)
}

/// Where the end record ends, if the comment behind it holds what looks like another one. Libraries look for the last.
fn end_before_misleading_comment(file: &File, size: u64) -> io::Result<Option<u64>> {
    let begin = size.saturating_sub(END_BYTES + MAX_COMMENT_BYTES);
    let mut tail = Vec::new();
    let mut reader = file;
    reader.seek(SeekFrom::Start(begin))?;
    reader.take(END_BYTES + MAX_COMMENT_BYTES).read_to_end(&mut tail)?;
    let mut found = None;
    let mut ends = tail.windows(END.len()).enumerate().filter(|(_, window)| *window == END).map(|(at, _)| at);
    for at in ends.by_ref() {
        let Some(record) = tail.get(at..at + 22) else { break };
        let place = begin + at as u64;
        if place + END_BYTES + u64::from(u16_at(record, 20)) == size && has_directory(file, record, place)? {
            found = Some(place + END_BYTES);
            break;
        }
    }
    Ok(found.filter(|_| ends.next().is_some()))
}

/// Whether the directory that an end record tells of ends where the record begins.
fn has_directory(file: &File, record: &[u8], place: u64) -> io::Result<bool> {
    let (entries, bytes) = (u16_at(record, 10), u32_at(record, 12));
    let (before, mark) = match (entries, bytes) {
        (0, 0) => return Ok(true),
        (u16::MAX, _) | (_, u32::MAX) => (ZIP64_LOCATOR_BYTES, ZIP64_LOCATOR),
        (_, bytes) => (u64::from(bytes), ENTRY),
    };
    let Some(at) = place.checked_sub(before) else { return Ok(false) };
    let mut found = [0; 4];
    file.read_exact_at(&mut found, at)?;
    Ok(found == mark)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

impl Read for ZipSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read_at(&mut buffer[..most], self.at)?;
        match self.left.get().checked_sub(read as u64) {
            Some(left) => self.left.set(left),
            None => return refuse("has a directory that is too large; pack fewer files".to_owned()),
        }
        if self.without_comment {
            for (byte, place) in buffer[..read].iter_mut().zip(self.at..) {
                if place + 2 >= self.end {
                    *byte = 0;
                }
            }
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for ZipSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
