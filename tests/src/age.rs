//! Files as they are long after.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Lets a file or folder be this much older than it is.
///
/// # Panics
/// If it is not there, or somebody else's.
pub fn age(path: &Path, by: Duration) {
    let file = File::open(path).expect("it is there");
    let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("its time");
    file.set_modified(modified - by).expect("its owner may");
}
