//! The directory of one run: `work` with the submission's files, `output` for what the job leaves, and its homes.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directory of one run, private to the worker's user.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes a directory `name` with all its parts.
    pub(crate) fn create(station: &Path, name: &str) -> io::Result<Self> {
        let directory = Self { path: station.join(name) };
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder.create(&directory.path)?;
        for part in [directory.work(), directory.output(), directory.home(), directory.temporary()] {
            builder.create(part)?;
        }
        Ok(directory)
    }

    /// Where the submission's files are, and where the program runs.
    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// What the program is given as `--output`.
    pub(crate) fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// The program's `HOME`.
    pub(crate) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// The program's `TMPDIR`.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Removes it with all that is in it.
    pub(crate) fn remove(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

/// Removes a directory tree, opening up what a job may have closed. Links are removed, never followed.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
