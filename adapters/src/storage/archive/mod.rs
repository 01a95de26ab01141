//! Archives: `.zip` and `.tar.gz`, read entry by entry against the same rules.

pub(crate) mod judge;
mod members;
pub(crate) mod names;
pub(crate) mod read;
mod refusal;
mod tar_gz;
pub(crate) mod tree;
pub(crate) mod unpack;
mod zip_file;
mod zip_source;
