//! Reads an archive whole before it is taken in, so that no job finds out what the upload could have told.

use std::fs::File;
use std::io::{self, Read, Seek};

use events::ports::{ArchiveContents, ArchiveLimits, FileName, StorageError};

use super::names::encoding::Encoding;
use super::read;
use super::tree::{Found, How, Sink, Spent};

/// Checks an archive against all the rules, as a server does that takes it in.
///
/// # Errors
/// [`StorageError::Refused`] with a sentence that names the archive, the culprit and what to do; or an error of the disk.
pub fn check_archive(name: &FileName, file: &File, limits: &ArchiveLimits) -> Result<ArchiveContents, StorageError> {
    judge(name, file, limits, &mut Spent::default())
}

/// Reads an archive that counts towards `spent`: twice, if its names are in an encoding that must be guessed first.
pub(crate) fn judge(
    name: &FileName,
    file: &File,
    limits: &ArchiveLimits,
    spent: &mut Spent,
) -> Result<ArchiveContents, StorageError> {
    let before = *spent;
    let mut listing = Listing::default();
    let mut encoding = None;
    let mut found = read(name, file, How { limits, encoding, root: None }, spent, &mut listing)?;
    if !found.names.undecided.is_empty() {
        encoding = Some(Encoding::guess(&found.names.undecided));
        *spent = before;
        listing.0.clear();
        found = read(name, file, How { limits, encoding, root: None }, spent, &mut listing)?;
    }
    Ok(ArchiveContents {
        paths: listing.0,
        top_folder: found.top_folder,
        encoding: encoding.map(|encoding| encoding.label().to_owned()),
        renamed: found.names.renamed,
        renamed_examples: found.names.examples,
        ignored: found.ignored,
    })
}

fn read(
    name: &FileName,
    file: &File,
    how: How<'_>,
    spent: &mut Spent,
    listing: &mut Listing,
) -> Result<Found, StorageError> {
    let disk = |source| StorageError::Io { context: format!("reading {}", name.as_str()), source };
    let mut file = file.try_clone().map_err(disk)?;
    file.rewind().map_err(disk)?;
    read::read(name, file, how, spent, listing)
}

/// Lists the files of a tree, and reads each to its end.
#[derive(Debug, Default)]
struct Listing(Vec<String>);

impl Sink for Listing {
    fn file(&mut self, path: &str, _executable: bool, content: &mut dyn Read) -> io::Result<()> {
        self.0.push(path.to_owned());
        io::copy(content, &mut io::sink()).map(drop)
    }
}
