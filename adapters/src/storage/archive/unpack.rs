//! Writes what archives hold into a work directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::refusal::refuse;
use super::tree::Sink;

/// Writes the files of a tree beneath a directory that is private to us and held nothing before.
pub(crate) struct Unpack<'a> {
    pub(crate) into: &'a Path,
}

impl Sink for Unpack<'_> {
    fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<()> {
        let target = self.into.join(path);
        let mode = if executable { 0o755 } else { 0o644 };
        let folder = target.parent().map_or(Ok(()), fs::create_dir_all);
        let opened = folder.and_then(|()| OpenOptions::new().write(true).create_new(true).mode(mode).open(&target));
        let mut file = match opened {
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
                return refuse(format!("holds {path:?}, which another file of the submission brings too"));
            }
            opened => opened?,
        };
        io::copy(content, &mut file)?;
        file.flush()
    }
}
