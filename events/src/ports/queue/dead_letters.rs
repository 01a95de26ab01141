//! What the platform gave up, and what it could not even read.

use async_trait::async_trait;

use crate::failure::DeadLetterKind;
use crate::id::{JobId, UserId};
use crate::ports::{JobPage, PageCursor, PortError};
use crate::time::Timestamp;

/// What the platform gave up, and what it could not even read.
#[async_trait]
pub trait DeadLetterPort: Send + Sync {
    /// Dead letters, newest first. Reads a bounded part of them, so a page may be short and still have a cursor.
    async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<JobPage, PortError>;

    /// The newest tickets and entries that could not be read, newest first.
    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, PortError>;

    /// Forgets the tickets and entries that could not be read, and gives their number.
    async fn purge_quarantine(&self) -> Result<u64, PortError>;
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterQuery {
    /// Only those of this kind.
    pub kind: Option<DeadLetterKind>,
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only those given up at this time or later.
    pub since: Option<Timestamp>,
    /// Where to go on; the time in it is that of the end.
    pub cursor: Option<PageCursor<JobId>>,
    /// At most this many.
    pub limit: usize,
}

impl DeadLetterQuery {
    /// Whether a dead letter is one of those.
    #[must_use]
    pub fn wants(&self, user: &UserId, kind: DeadLetterKind, at: Timestamp) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.user.as_ref().is_none_or(|wanted| wanted == user)
            && self.since.is_none_or(|since| at >= since)
    }
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The key that it was in, without the namespace, such as `queue:small` or `leases`.
    pub from: String,
    /// Which ticket, field or member it was, at most 1 KiB of it.
    pub entry: Vec<u8>,
    /// The fields of a ticket, or the content of a field, and their raw content.
    pub fields: Vec<(String, Vec<u8>)>,
}
