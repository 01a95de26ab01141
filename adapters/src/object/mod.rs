//! A board's files in a bucket of an S3 server.

mod artifacts;
mod client;
pub(crate) mod keys;
mod log_outbox;
mod log_segments;
mod logs;
mod names;
mod store;
mod submissions;
mod trouble;
mod unfinished;
mod upload;
mod url;

pub use artifacts::ObjectArtifacts;
pub use client::S3Settings;
pub use logs::ObjectLogs;
pub use store::Store;
pub use submissions::ObjectSubmissions;
pub use trouble::StoreError;
pub use url::{Bucket, InvalidStorage, StorageUrl};
