//! Pages of what is listed newest first.

/// The place after an entry in the newest-first order: its time, then its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCursor<Id> {
    /// When the last entry of the page before was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Its id.
    pub id: Id,
}
