//! The files of submissions.

mod archive;
pub(crate) mod archives;
mod directory;

use events::ports::StorageError;
use tokio::task::spawn_blocking;

pub(crate) use archive::tree::Spent;

pub use archive::judge::check_archive;
pub use directory::DirectoryStorage;
pub use directory::room_of;

/// Does what blocks on a thread that may be blocked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let stopped =
        |error| StorageError::Io { context: "a storage task".to_owned(), source: std::io::Error::other(error) };
    spawn_blocking(work).await.map_err(stopped)?
}

/// An error of the disk, and what was being done.
pub(crate) fn failed(context: &str) -> impl Fn(std::io::Error) -> StorageError + '_ {
    move |source| StorageError::Io { context: context.to_owned(), source }
}
