//! Uploads in flight, kept where every API host reads them: how many a user has, and the bytes reserved for them.

use async_trait::async_trait;

use crate::id::{SubmissionId, UserId};
use crate::ports::PortError;

/// The uploads in flight of all users, over all API hosts.
///
/// An entry expires unless its host renews it, so a host that dies frees its places. Requests under one idempotency key
/// are one upload: they share a place, and only the largest of their reservations counts. The bytes of an upload whose
/// submission exists are counted there and not here.
#[async_trait]
pub trait UploadsPort: Send + Sync {
    /// Takes or renews the entry of an upload, and reserves bytes for it.
    async fn reserve(&self, upload: &UploadInFlight, ask: &ReserveAsk) -> Result<Reserved, PortError>;

    /// Ends an upload. It is no error if it has no entry.
    async fn release(&self, upload: &UploadInFlight) -> Result<(), PortError>;

    /// Returns how many uploads of a user are in flight.
    async fn in_flight(&self, user: &UserId) -> Result<u64, PortError>;
}

/// An upload in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInFlight {
    /// Whose it is.
    pub user: UserId,
    /// The submission that it becomes.
    pub submission: SubmissionId,
    /// The SHA-256 of its idempotency key in hexadecimal; `None` without a key.
    pub key_sha256: Option<String>,
}

/// What an upload asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReserveAsk {
    /// How many bytes it must get, of all its files.
    pub needed_bytes: u64,
    /// How many bytes it would like to get. If less than twice that is left, it gets less, so that others get some too.
    pub wanted_bytes: u64,
    /// The limit of uploads in flight; `None` for an upload that was admitted before.
    pub at_once: Option<u64>,
    /// The limit of stored bytes; `None` for an upload that adds none.
    pub stored_bytes: Option<u64>,
}

/// The answer to an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// This many bytes are reserved for it.
    Bytes(u64),
    /// The user is at the limit of uploads in flight.
    TooMany,
    /// The live state is at its memory limit.
    Full,
    /// The bytes do not fit.
    TooLarge {
        /// The bytes of the user's submissions.
        stored: u64,
        /// The bytes that are reserved for the user's other uploads.
        in_flight: u64,
    },
}
