//! The files of submissions.

mod archive;
mod directory;
mod tar_gz;
mod work_path;
mod zip_file;

pub use directory::DirectoryStorage;
pub(crate) use directory::room_of;
