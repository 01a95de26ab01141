//! What a run has on disk: walked without following anything that it may have planted.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// How deep is looked. What lies deeper counts as closed.
const MAX_DEPTH: usize = 200;

/// What is in some folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DiskUsage {
    /// What is taken of the disk, holes apart.
    pub(super) bytes: u64,
    /// Files and folders.
    pub(super) entries: u64,
    /// Folders that can't be looked into.
    pub(super) closed: u64,
}

/// Counts what is below these folders, and stops at so many entries. Not for an asynchronous thread.
pub(super) fn usage(folders: &[&Path], most_entries: u64) -> io::Result<DiskUsage> {
    let mut usage = DiskUsage::default();
    for folder in folders {
        count(open_folder(CWD, *folder)?, 0, most_entries, &mut usage)?;
    }
    Ok(usage)
}

fn count(folder: OwnedFd, depth: usize, most_entries: u64, usage: &mut DiskUsage) -> io::Result<()> {
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        usage.entries += 1;
        if usage.entries > most_entries {
            return Ok(());
        }
        let stat = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // The job removes files while they are counted.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            match open_folder(&folder, name) {
                Ok(_) if depth + 1 >= MAX_DEPTH => usage.closed += 1,
                Ok(below) => count(below, depth + 1, most_entries, usage)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(Errno::ACCESS) => usage.closed += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn open_folder(parent: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_there_is_counted_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("a")).unwrap();
        fs::write(path.join("a/full"), vec![1; 100_000]).unwrap();
        fs::File::create(path.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        symlink("/usr", path.join("a/link")).unwrap();
        let found = usage(&[path], 1_000).unwrap();
        assert_eq!((found.entries, found.closed), (4, 0));
        assert!((100_000..1_000_000).contains(&found.bytes), "{found:?}");
        assert_eq!(usage(&[path], 2).unwrap().entries, 3, "it stops once there are too many");
    }

    #[test]
    fn a_tree_without_end_counts_as_closed() {
        let folder = tempfile::tempdir().unwrap();
        let mut deep = folder.path().to_owned();
        for _ in 0..MAX_DEPTH + 5 {
            deep.push("d");
            fs::create_dir(&deep).unwrap();
        }
        assert_eq!(usage(&[folder.path()], 10_000).unwrap().closed, 1);
    }
}
