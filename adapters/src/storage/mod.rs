//! The files of submissions.

mod archive;
mod directory;

pub use archive::judge::check_archive;
pub use directory::DirectoryStorage;
pub use directory::room_of;
