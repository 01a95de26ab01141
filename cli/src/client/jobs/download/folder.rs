//! The folder that files are downloaded into. Nothing is written outside it, whatever links are in it, and a file is
//! there whole or not at all.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use events::ArtifactPath;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, ResolveFlags, mkdirat, open, openat2, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::client::http::error::ClientError;
use crate::client::jobs::artifacts::Listing;

/// The folder that files are downloaded into.
pub(super) struct Folder {
    root: OwnedFd,
    path: PathBuf,
}

/// What is where a file would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// That very file.
    Same,
    Other,
}

/// A file of which a part may have come: under a name of its own beside its place, which tells its digest.
pub(super) struct Partial {
    folder: OwnedFd,
    name: String,
    file: File,
    digest: Sha256,
    pub(super) bytes: u64,
}

impl Folder {
    /// Opens the folder, and makes it where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, ClientError> {
        let opened = std::fs::create_dir_all(path)
            .and_then(|()| Ok(open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?));
        let root = opened.map_err(|error| ClientError::usage(format!("{}: {error}.", path.display())))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// How a file in it is called.
    pub(super) fn shown(&self, path: &ArtifactPath) -> String {
        self.path.join(path.as_str()).display().to_string()
    }

    /// What is where a file would go.
    pub(super) fn look(&self, file: &Listing) -> Result<Place, ClientError> {
        let opened = beneath(&self.root, file.path.as_str(), OFlags::RDONLY | OFlags::NONBLOCK);
        let mut there = match opened {
            Ok(there) => File::from(there),
            Err(Errno::NOENT) => return Ok(Place::Free),
            // A link, or a file that stands where a folder must be.
            Err(_) => return Ok(Place::Other),
        };
        let is_alike = there.metadata().is_ok_and(|there| there.is_file() && there.len() == file.bytes);
        if !is_alike {
            return Ok(Place::Other);
        }
        let mut digest = Sha256::new();
        take_in(&mut there, &mut digest).map_err(|error| self.failed(&file.path, &error))?;
        Ok(if hex_of(digest) == file.sha256 { Place::Same } else { Place::Other })
    }

    /// Opens the part of a file that has come, or begins one.
    pub(super) fn partial(&self, file: &Listing) -> Result<Partial, ClientError> {
        self.try_partial(file).map_err(|error| self.failed(&file.path, &error))
    }

    fn try_partial(&self, file: &Listing) -> io::Result<Partial> {
        let folder = self.folder_of(&file.path)?;
        let sum: String = file.sha256.chars().filter(char::is_ascii_hexdigit).take(64).collect();
        let name = format!(".{sum}.{}.part", short_hash(file.path.file_name()));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        let mut part = File::from(beneath(&folder, &name, flags)?);
        let mut digest = Sha256::new();
        if !part.metadata()?.is_file() {
            return Err(io::Error::other(format!("{name} is no file")));
        }
        if part.metadata()?.len() > file.bytes {
            part.set_len(0)?;
        }
        let bytes = take_in(&mut part, &mut digest)?;
        Ok(Partial { folder, name, file: part, digest, bytes })
    }

    /// Puts a file that has come whole into its place, if it is the one that was announced.
    pub(super) fn finish(&self, partial: Partial, file: &Listing, force: bool) -> Result<(), ClientError> {
        let Partial { folder, name, file: part, digest, .. } = partial;
        if hex_of(digest) != file.sha256 {
            // What is damaged is of no use to the next try.
            let _ = unlinkat(&folder, &name, AtFlags::empty());
            return Err(ClientError::Refused {
                sentence: format!("{} did not come as it was stored: its digest is another one.", file.path),
            });
        }
        let placed = part.sync_all().and_then(|()| {
            let to = file.path.file_name();
            let placed = if force {
                renameat(&folder, &name, &folder, to)
            } else {
                match renameat_with(&folder, &name, &folder, to, RenameFlags::NOREPLACE) {
                    // A file system that can't do both in one step: it was looked for a moment ago.
                    Err(Errno::INVAL) => renameat(&folder, &name, &folder, to),
                    placed => placed,
                }
            };
            Ok(placed?)
        });
        placed.map_err(|error| self.failed(&file.path, &error))
    }

    /// Opens the folder of a file, made where it is missing, step by step and through no link.
    fn folder_of(&self, path: &ArtifactPath) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        let Some((folders, _)) = path.as_str().rsplit_once('/') else { return Ok(folder) };
        for name in folders.split('/') {
            match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = beneath(&folder, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        }
        Ok(folder)
    }

    fn failed(&self, path: &ArtifactPath, error: &io::Error) -> ClientError {
        ClientError::Local(io::Error::new(error.kind(), format!("{}: {error}", self.shown(path))))
    }
}

impl Partial {
    /// Adds what came; more than was announced is refused.
    pub(super) fn write(&mut self, chunk: &[u8], file: &Listing) -> Result<(), ClientError> {
        if self.bytes + chunk.len() as u64 > file.bytes {
            return Err(ClientError::Refused { sentence: format!("more came of {} than was announced.", file.path) });
        }
        self.file.write_all(chunk)?;
        self.digest.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Forgets what has come.
    pub(super) fn start_over(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.digest = Sha256::new();
        self.bytes = 0;
        Ok(())
    }
}

fn beneath(folder: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    openat2(folder, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode, resolve)
}

/// Reads a file to its end into a digest, and gives how many bytes there were.
fn take_in(file: &mut File, digest: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(bytes);
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// The SHA-256 of what a digest has taken in.
fn hex_of(digest: Sha256) -> String {
    hex::encode(digest.finalize())
}

/// Tells two equal files of one folder apart.
fn short_hash(name: &str) -> String {
    hex::encode(&Sha256::digest(name)[..4])
}
