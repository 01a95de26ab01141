//! What makes a repeated request known: the key that its client chose, and what it asked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guard::Guard;
use crate::id::UserId;
use crate::log::envelope::AggregateId;

/// How long what was answered under a key is kept.
pub const KEPT: Duration = Duration::from_hours(24);

/// The key of a request and the digest of its meaning, as its event keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The SHA-256 of the header `Idempotency-Key`, in hexadecimal. Keys are each user's own.
    pub key_sha256: String,
    /// The SHA-256 of what was asked for, in hexadecimal.
    pub body_sha256: String,
}

impl Idempotency {
    /// Nothing was committed under this key of the user's.
    #[must_use]
    pub(crate) fn unused_by(&self, user: &UserId) -> Guard {
        Guard::IdempotencyKeyUnused { user: user.clone(), key_sha256: self.key_sha256.clone() }
    }
}

/// What an earlier request under a key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What it made.
    pub made: AggregateId,
    /// The SHA-256 of what was asked for, in hexadecimal.
    pub body_sha256: String,
}
