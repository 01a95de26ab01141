//! An archive that may do harm.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The end of a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is refused at the upload, with this word in the sentence.
    Refused(&'static str),
    /// It is refused at the upload, or the job that is made of it fails as `setup`.
    Broken,
    /// It is taken, and does what it says: the job finds these files, and no others than its own.
    Harmless(&'static [&'static str]),
}

pub(super) struct Trap {
    pub(super) what: &'static str,
    pub(super) file: &'static str,
    pub(super) content: Vec<u8>,
    pub(super) fate: Fate,
}

/// As one member of gzip.
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}
