//! Reads an archive of either format.

use std::fs::File;

use events::ports::{FileName, StorageError};

use super::refusal::{is_of_system, sentence};
use super::tree::{Found, How, Sink, Spent, Tree};
use super::{tar_gz, zip_file};

/// Reads the archive `name` and hands its files to `sink`.
///
/// # Errors
/// [`StorageError::Refused`] with a sentence that names the archive and the culprit, or an error of the disk.
pub(crate) fn read(
    name: &FileName,
    file: File,
    how: How<'_>,
    spent: &mut Spent,
    sink: &mut dyn Sink,
) -> Result<Found, StorageError> {
    let mut tree = Tree::new(how, spent, sink);
    let done =
        if name.as_str().ends_with(".zip") { zip_file::read(file, &mut tree) } else { tar_gz::read(file, &mut tree) };
    match done {
        Ok(()) => Ok(tree.into_found()),
        Err(error) if is_of_system(&error) => {
            Err(StorageError::Io { context: format!("reading {}", name.as_str()), source: error })
        }
        Err(error) => Err(StorageError::Refused(format!("archive {:?} {}", name.as_str(), sentence(&error)))),
    }
}
