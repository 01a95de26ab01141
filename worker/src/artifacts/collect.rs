//! Copying what is to be kept of an output directory into storage.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use events::ports::{PortError, StagedArtifacts};
use events::{Artifact, ArtifactList, ArtifactPath};
use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::life::{Life, Stopped};
use super::survey::{Survey, survey};
use super::{ArtifactLimits, size};
use crate::output;

const CHUNK_BYTES: usize = 256 << 10;

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Storage failed: it may work again.
    #[error(transparent)]
    Storage(#[from] PortError),
}

/// Stages the files below `output`, and gives their list. Blocks.
///
/// A file that can't be read, or is none, is passed over and named with the reason; an output directory that can't be
/// read at all holds nothing.
pub(super) fn collect(
    output: &Path,
    staged: &mut dyn StagedArtifacts,
    limits: ArtifactLimits,
    life: &Life,
) -> Result<ArtifactList, CollectError> {
    let opened = output::open_directory(output).and_then(|output| Ok((output.try_clone().map_err(errno)?, output)));
    let (walked, output) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let mut list = ArtifactList::default();
            list.skip(String::new(), format!("the output directory can't be opened: {error}"));
            return Ok(list);
        }
    };
    let Survey { files, mut list } = survey(walked, limits.files, life)?;
    let size_of = |path: &ArtifactPath| Some(statat(&output, path.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?.st_size);
    let sizes = files.iter().filter_map(|(_, path)| u64::try_from(size_of(path)?).ok());
    life.expect(sizes.fold(0, u64::saturating_add).min(limits.bytes));
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut left = limits.bytes;
    for (_, path) in files {
        life.sign()?;
        match copy(&output, &path, staged, &mut buffer, left, life)? {
            Copied::Whole(file) => {
                left -= file.bytes;
                list.files.push(file);
            }
            Copied::TooLarge => {
                let reason = format!("with it there would be more than the {} that are kept", size(limits.bytes));
                list.skip(path.into(), reason);
            }
            Copied::Refused(reason) => list.skip(path.into(), reason),
        }
    }
    Ok(list)
}

enum Copied {
    Whole(Artifact),
    TooLarge,
    Refused(String),
}

fn copy(
    output: impl AsFd,
    path: &ArtifactPath,
    staged: &mut dyn StagedArtifacts,
    buffer: &mut [u8],
    left: u64,
    life: &Life,
) -> Result<Copied, CollectError> {
    let (mut file, size) = match output::open_file(output, path.as_str()) {
        Ok(opened) => opened,
        Err(refusal) => return Ok(Copied::Refused(format!("it {refusal}"))),
    };
    if size > left {
        return Ok(Copied::TooLarge);
    }
    staged.begin(path)?;
    let mut bytes = 0;
    loop {
        life.sign()?;
        let read = match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                staged.discard()?;
                return Ok(Copied::Refused(format!("it can't be read: {error}")));
            }
        };
        bytes += read as u64;
        if bytes > left {
            staged.discard()?;
            return Ok(Copied::TooLarge);
        }
        staged.write(&buffer[..read])?;
        life.did(read as u64);
    }
    let stored = staged.finish()?;
    Ok(Copied::Whole(Artifact { path: path.clone(), bytes: stored.bytes, sha256: stored.sha256 }))
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests;
