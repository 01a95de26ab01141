//! The files of submissions.

mod archive;
mod directory;
mod encoding;
mod judge;
mod members;
mod names;
mod tar_gz;
mod unpack;
mod work_path;
mod zip_file;
mod zip_source;

pub use directory::DirectoryStorage;
pub(crate) use directory::room_of;
pub use judge::check_archive;
