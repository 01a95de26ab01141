//! What a run has on disk: walked without following anything that it may have planted.

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
pub(super) fn usage(folders: &[&Path], most_entries: u64) -> DiskUsage {
    let mut usage = DiskUsage::default();
    for folder in folders {
        match open_folder(CWD, *folder) {
            Ok(folder) => count(&folder, 0, most_entries, &mut usage),
            Err(error) => usage.miss(error),
        }
    }
    usage
}

fn count(folder: &OwnedFd, depth: usize, most_entries: u64, usage: &mut DiskUsage) {
    let mut below = Vec::new();
    // Each level has one descriptor: this second one is closed before the next level begins.
    match Dir::read_from(folder) {
        Ok(entries) => {
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(error) => {
                        usage.miss(error);
                        break;
                    }
                };
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                usage.entries += 1;
                if usage.entries > most_entries {
                    return;
                }
                match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => {
                        usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
                        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                            below.push(name.to_owned());
                        }
                    }
                    Err(error) => usage.miss(error),
                }
            }
        }
        Err(error) => usage.miss(error),
    }
    for name in below {
        match open_folder(folder, &name) {
            Ok(_) if depth + 1 >= MAX_DEPTH => usage.closed += 1,
            Ok(folder) => count(&folder, depth + 1, most_entries, usage),
            Err(error) => usage.miss(error),
        }
        if usage.entries > most_entries {
            return;
        }
    }
}

impl DiskUsage {
    /// What can't be looked at is closed, unless the job has only removed or replaced it meanwhile.
    fn miss(&mut self, error: Errno) {
        if !matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
            self.closed += 1;
        }
    }
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
        let found = usage(&[path], 1_000);
        assert_eq!((found.entries, found.closed), (4, 0));
        assert!((100_000..1_000_000).contains(&found.bytes), "{found:?}");
        assert_eq!(usage(&[path], 2).entries, 3, "it stops once there are too many");
    }

    #[test]
    fn a_tree_without_end_counts_as_closed() {
        let folder = tempfile::tempdir().unwrap();
        let mut deep = folder.path().to_owned();
        for _ in 0..MAX_DEPTH + 5 {
            deep.push("d");
            fs::create_dir(&deep).unwrap();
        }
        assert_eq!(usage(&[folder.path()], 10_000).closed, 1);
    }
}
