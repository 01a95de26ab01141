//! Archives of submissions, read from local files: judged at the upload, unpacked before a run.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use events::ports::{ArchiveContents, ArchiveLimits, FileName, StorageError};
use events::submission::ArchiveReading;
use tokio::sync::Semaphore;

use super::archive::judge::judge;
use super::archive::names::encoding::Encoding;
use super::archive::read;
use super::archive::tree::{How, Spent};
use super::archive::unpack::Unpack;
use super::{blocking, failed};

/// Limits how many archives are judged at a time, over all users.
#[derive(Debug, Clone)]
pub(crate) struct Judging(Arc<Semaphore>);

impl Default for Judging {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(cores.div_ceil(2))))
    }
}

impl Judging {
    /// Reads a staged archive whole, and checks it against all the rules for archives.
    pub(crate) async fn judge(
        &self,
        name: &FileName,
        open: impl FnOnce() -> Result<File, StorageError> + Send + 'static,
        limits: &ArchiveLimits,
        spent: &Arc<Mutex<Spent>>,
    ) -> Result<ArchiveContents, StorageError> {
        let (name, limits, spent) = (name.clone(), *limits, Arc::clone(spent));
        // It goes with the work, which goes on if its client hangs up.
        let turn = Arc::clone(&self.0).acquire_owned().await;
        blocking(move || {
            let _turn = turn;
            let file = open()?;
            let mut spent = spent.lock().unwrap_or_else(PoisonError::into_inner);
            judge(&name, &file, &limits, &mut spent)
        })
        .await
    }
}

/// Unpacks an archive into `into`, read as `readings` say.
pub(crate) fn unpack(
    name: &FileName,
    file: File,
    into: &Path,
    limits: &ArchiveLimits,
    readings: &[ArchiveReading],
    spent: &mut Spent,
) -> Result<(), StorageError> {
    let reading = readings.iter().find(|reading| reading.archive == name.as_str());
    let encoding = reading.and_then(|reading| reading.encoding.as_deref()).map(known).transpose()?;
    let root = reading.and_then(|reading| reading.root.as_deref());
    let found = read::read(name, file, How { limits, encoding, root }, spent, &mut Unpack { into })?;
    if !found.names.undecided.is_empty() {
        return Err(StorageError::Refused(format!("archive {:?} has names that are not UTF-8", name.as_str())));
    }
    Ok(())
}

fn known(label: &str) -> Result<Encoding, StorageError> {
    let unknown = || std::io::Error::other(format!("the encoding {label:?} is not known"));
    Encoding::of_label(label).ok_or_else(|| failed("reading an archive's names")(unknown()))
}
