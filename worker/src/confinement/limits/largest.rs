//! The largest file that a run has left, to name it when the run had too much on disk.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};

use super::MAX_FILES;

/// How deep is looked.
const MAX_DEPTH: usize = 50;
/// How much of a path is shown, in characters.
const SHOWN: usize = 200;

/// A file that a run has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LargestFile {
    /// Its path from the run's directory on, such as `output/model.pt`.
    path: String,
    /// How large it is by what was asked for.
    pub(crate) bytes: u64,
}

/// What makes a file the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Its size, holes included: what the limit of a single file is compared with.
    Size,
    /// What it takes of the disk.
    Taken,
}

impl fmt::Display for LargestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Finds the largest file below these folders. Follows no link; passes over what can't be read. Blocks.
pub(crate) fn largest_file(folders: &[PathBuf], measure: Measure) -> Option<LargestFile> {
    let mut search = Search { measure, found: None, entries: 0 };
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if let Ok(opened) = open_folder(CWD, folder.as_path()) {
            search.folder(&opened, &name, 0);
        }
    }
    search.found
}

struct Search {
    measure: Measure,
    found: Option<LargestFile>,
    entries: u64,
}

impl Search {
    fn folder(&mut self, folder: &OwnedFd, path: &str, depth: usize) {
        let Ok(entries) = Dir::read_from(folder) else { return };
        let mut below = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_FILES {
                return;
            }
            let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let bytes = match self.measure {
                Measure::Size => u64::try_from(stat.st_size).unwrap_or(0),
                Measure::Taken => u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => below.push(name.to_owned()),
                FileType::RegularFile if self.found.as_ref().is_none_or(|found| found.bytes < bytes) => {
                    let path = format!("{path}/{}", name.to_string_lossy());
                    let path = path.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
                    self.found = Some(LargestFile { path, bytes });
                }
                _ => {}
            }
        }
        for name in below {
            if depth < MAX_DEPTH
                && let Ok(opened) = open_folder(folder, &name)
            {
                self.folder(&opened, &format!("{path}/{}", name.to_string_lossy()), depth + 1);
            }
        }
    }
}

fn open_folder(within: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(within, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_largest_file_is_named_from_the_runs_directory_on() {
        let run = tempfile::tempdir().unwrap();
        let [work, output] = ["work", "output"].map(|name| run.path().join(name));
        fs::create_dir_all(output.join("a")).unwrap();
        fs::create_dir(&work).unwrap();
        assert_eq!(largest_file(&[work.clone(), output.clone()], Measure::Size), None);
        fs::write(work.join("small"), "x").unwrap();
        fs::write(output.join("a/mo\ndel.pt"), [0; 100]).unwrap();
        symlink("/usr/bin/python3", output.join("link")).unwrap();
        let folders = [work, output.clone()];
        let found = largest_file(&folders, Measure::Size).unwrap();
        assert_eq!((found.to_string().as_str(), found.bytes), ("output/a/model.pt", 100));
        fs::File::create(output.join("holes")).unwrap().set_len(1 << 30).unwrap();
        fs::write(output.join("full"), vec![1; 100_000]).unwrap();
        let names = [Measure::Size, Measure::Taken].map(|measure| largest_file(&folders, measure).unwrap().to_string());
        assert_eq!(names, ["output/holes", "output/full"]);
    }
}
