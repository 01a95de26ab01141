//! What a run has on disk: walked without following anything that it may have planted.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

use crate::machine::platform_fault::is_platforms;

/// How deep is looked. What lies deeper counts as closed.
const MAX_DEPTH: usize = 200;

/// What is in some folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskUsage {
    /// What is taken of the disk, holes apart.
    pub(crate) bytes: u64,
    /// Files and folders.
    pub(crate) entries: u64,
    /// Folders that can't be looked into.
    pub(crate) closed: u64,
}

/// Counts what is below these folders, and stops at so many entries. Not for an asynchronous thread.
///
/// # Errors
/// What kept the platform from looking; then nothing is known.
pub(crate) fn usage(folders: &[&Path], most_entries: u64) -> Result<DiskUsage, Errno> {
    let mut usage = DiskUsage::default();
    for folder in folders {
        match openat(CWD, *folder, FOLDER, Mode::empty()) {
            Ok(folder) => Walk { top: folder, most_entries, usage: &mut usage }.run()?,
            Err(error) => usage.miss(error)?,
        }
    }
    Ok(usage)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A walk with three descriptors at most, however deep the tree is: folders are opened by their path below the top.
struct Walk<'a> {
    top: OwnedFd,
    most_entries: u64,
    usage: &'a mut DiskUsage,
}

impl Walk<'_> {
    fn run(mut self) -> Result<(), Errno> {
        // The names of the folders that are still to be walked, level by level, and the path to the last level.
        let mut levels = vec![self.folder(c".")?];
        let mut path: Vec<u8> = Vec::new();
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.pop() else {
                levels.pop();
                path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                continue;
            };
            if levels.len() >= MAX_DEPTH {
                self.usage.closed += 1;
                continue;
            }
            let parent = path.len();
            if parent > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            match CString::new(path.as_slice()).map_err(|_| Errno::INVAL).and_then(|path| self.folder(&path)) {
                Ok(below) => levels.push(below),
                Err(error) => {
                    self.usage.miss(error)?;
                    path.truncate(parent);
                }
            }
            if self.usage.entries > self.most_entries {
                break;
            }
        }
        Ok(())
    }

    /// Counts what is in a folder, and gives the folders in it.
    fn folder(&mut self, path: &CStr) -> Result<Vec<CString>, Errno> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let mut below = Vec::new();
        let mut entries = Dir::new(openat2(&self.top, path, FOLDER, Mode::empty(), resolve)?)?;
        while let Some(entry) = entries.read() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.usage.miss(error)?;
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.usage.entries += 1;
            if self.usage.entries > self.most_entries {
                break;
            }
            match statat(entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    self.usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        below.push(name.to_owned());
                    }
                }
                Err(error) => self.usage.miss(error)?,
            }
        }
        Ok(below)
    }
}

impl DiskUsage {
    /// What can't be looked at is closed, unless the job has only removed or replaced it meanwhile, or the platform
    /// can't look.
    fn miss(&mut self, error: Errno) -> Result<(), Errno> {
        if is_platforms(error) {
            return Err(error);
        }
        if !matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
            self.closed += 1;
        }
        Ok(())
    }
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

    #[test]
    fn a_walk_that_lacks_descriptors_knows_nothing_and_blames_nobody() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
        let mut taken: Vec<fs::File> = Vec::new();
        // Of this process alone: each test of the worker has its own where it matters, and gives all back at once.
        let failed = loop {
            match fs::File::open("/dev/null") {
                Ok(file) => taken.push(file),
                Err(_) => break usage(&[folder.path()], 1_000),
            }
        };
        taken.truncate(taken.len() - 3);
        let enough = usage(&[folder.path()], 1_000);
        drop(taken);
        assert_eq!(failed, Err(Errno::MFILE));
        assert_eq!(enough.map(|found| (found.entries, found.closed)), Ok((3, 0)));
    }
}
