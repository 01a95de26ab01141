//! The archive: the same files give the same bytes, on any machine and at any time.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use adapters::storage::check_archive;
use events::ports::{FileName, StorageError};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::limits::Limits;
use super::tree::Entry;
use crate::client::http::error::ClientError;

/// The archive's name among the uploaded files. No other file at the top of a submission can have it.
pub(crate) const BUNDLE_NAME: &str = "bundle.tar.gz";

/// A finished archive in a file without a name, gone when it is closed.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) file: File,
    pub(crate) size: u64,
}

impl Bundle {
    /// Packs entries, which are sorted, with neither times nor owners.
    pub(crate) fn write(entries: &[Entry], limits: &Limits, stop: &AtomicBool) -> Result<Self, ClientError> {
        let mut file = match pack(entries, limits.file_bytes, stop) {
            Ok(file) => file,
            // Stopped at the limit, not after: the rest of a large folder need not be compressed to know.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(limits.bundle_too_large(entries));
            }
            Err(error) => return Err(error.into()),
        };
        let size = file.stream_position()?;
        file.rewind()?;
        Ok(Self { file, size })
    }

    /// Has the archive judged as a server judges it: none is sent only to be refused.
    pub(crate) fn checked(mut self, entries: &[Entry], limits: &Limits) -> Result<Self, ClientError> {
        if let Some(entry) = entries.iter().find(|entry| entry.path.contains('\\')) {
            return Err(ClientError::usage(format!(
                "the name {:?} has a backslash, which a server reads as a folder's end: rename the file, or name it in \
                 .gitignore or .ignore.",
                entry.path
            )));
        }
        let name = FileName::of_stored(BUNDLE_NAME).ok_or_else(|| io::Error::other("the bundle has no name"))?;
        match check_archive(&name, &self.file, &limits.archive) {
            Ok(_) => {
                self.file.rewind()?;
                Ok(self)
            }
            Err(StorageError::Refused(sentence)) => Err(ClientError::usage(format!(
                "the server would refuse what was packed: {sentence}. Leave out what the job does not need with \
                 .gitignore or .ignore."
            ))),
            Err(error) => Err(io::Error::other(error).into()),
        }
    }
}

fn pack(entries: &[Entry], max_bytes: u64, stop: &AtomicBool) -> io::Result<File> {
    let output = Capped { inner: BufWriter::new(tempfile::tempfile()?), left: max_bytes };
    // A GzBuilder writes no time and no name unless told to; the operating system's byte is fixed too.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(output, Compression::default());
    let mut archive = Builder::new(gzip);
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(if entry.executable { 0o755 } else { 0o644 });
        header.set_size(entry.size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", entry.path));
        let content = Content { inner: File::open(&entry.file).map_err(named)?, left: entry.size, stop };
        archive.append_data(&mut header, &entry.path, content).map_err(named)?;
    }
    archive.into_inner()?.finish()?.inner.into_inner().map_err(io::IntoInnerError::into_error)
}

/// A file's content at exactly the length its header says, else the archive would be broken from here on.
struct Content<'a> {
    inner: File,
    left: u64,
    stop: &'a AtomicBool,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped"));
        }
        let read = (&mut self.inner).take(self.left).read(buffer)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "became shorter while it was packed; try again"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// A writer with an end.
struct Capped<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Capped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.inner.write_all(bytes)?;
        self.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
