//! Copying what is to be kept of an output directory into storage.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use events::ports::{PortError, StagedArtifacts};
use events::{Artifact, ArtifactList, ArtifactPath};
use rustix::fs::{AtFlags, statat};

use super::limits::{ArtifactLimits, size};
use super::pulse::{Pulse, Stopped};
use super::survey::{Names, Survey, short, survey};
use crate::machine::open_output;
use crate::machine::open_output::Refusal;
use crate::machine::platform_fault::is_shortage;

const CHUNK_BYTES: usize = 256 << 10;

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Storage failed: it may work again.
    #[error(transparent)]
    Storage(#[from] PortError),
}

/// What was collected.
#[derive(Debug)]
pub(crate) struct Collected {
    /// The files, and what is not kept.
    pub(crate) list: ArtifactList,
    /// How many entries are not kept that their author may miss.
    pub(crate) missed: u64,
}

/// Stages the files below `output`, and gives their list. Blocks.
///
/// A file that can't be read, or is none, is passed over and named with the reason; an output directory that can't be
/// read at all holds nothing.
pub(crate) fn collect(
    output: &Path,
    staged: &mut dyn StagedArtifacts,
    limits: ArtifactLimits,
    pulse: &Pulse,
) -> Result<Collected, CollectError> {
    let path_of_output = output;
    let output = match open_output::open_directory(output) {
        Ok(opened) => opened,
        Err(error) if is_shortage(error) => return Err(short(error).into()),
        Err(error) => {
            let mut list = ArtifactList::default();
            list.skip(String::new(), format!("the output directory can't be opened: {error}"));
            return Ok(Collected { list, missed: 1 });
        }
    };
    let Survey { files, mut list, inner_links, names } = survey((&output, path_of_output), limits.files, pulse)??;
    let size_of = |path: &ArtifactPath| Some(statat(&output, path.as_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?.st_size);
    let sizes = files.iter().filter_map(|(_, path)| u64::try_from(size_of(path)?).ok());
    pulse.expect(sizes.fold(0, u64::saturating_add).min(limits.bytes));
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut left = limits.bytes;
    for (_, path) in files {
        pulse.beat()?;
        match copy((&output, &names), &path, staged, &mut buffer, left, pulse)? {
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
    let missed = list.skipped_count + list.left_out_count - inner_links;
    Ok(Collected { list, missed })
}

enum Copied {
    Whole(Artifact),
    TooLarge,
    Refused(String),
}

fn copy(
    (output, names): (impl AsFd, &Names),
    path: &ArtifactPath,
    staged: &mut dyn StagedArtifacts,
    buffer: &mut [u8],
    left: u64,
    pulse: &Pulse,
) -> Result<Copied, CollectError> {
    let opened = open_output::open_regular(output, path.as_str()).and_then(|(file, stat)| {
        // A name of what lies elsewhere is not the job's to give away.
        if names.are_complete(&stat) { Ok((file, stat)) } else { Err(open_output::Refusal::HardLink) }
    });
    let (mut file, stat) = match opened {
        Ok(opened) => opened,
        Err(Refusal::Unreadable(error)) if is_shortage(error) => return Err(short(error).into()),
        Err(refusal) => return Ok(Copied::Refused(format!("it {refusal}"))),
    };
    if open_output::size(&stat) > left {
        return Ok(Copied::TooLarge);
    }
    staged.begin(path)?;
    let mut bytes = 0;
    loop {
        pulse.beat()?;
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
        pulse.did(read as u64);
    }
    let stored = staged.finish()?;
    Ok(Copied::Whole(Artifact { path: path.clone(), bytes: stored.bytes, sha256: stored.sha256 }))
}

#[cfg(test)]
mod tests;
