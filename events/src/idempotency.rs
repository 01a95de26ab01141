//! How a repeated request is recognised: by the key that its client chose and the fingerprint of the request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::guard::Guard;
use crate::id::UserId;
use crate::log::envelope::AggregateId;

/// How long the answer to a key is kept.
pub const KEPT: Duration = Duration::from_hours(24);

/// The key of a request and its fingerprint, as its event keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The SHA-256 of the header `Idempotency-Key`, in hexadecimal. Keys are each user's own.
    pub key_sha256: String,
    /// The fingerprint of the request: the SHA-256 of its meaning, in hexadecimal.
    pub body_sha256: String,
}

impl Idempotency {
    /// Returns the guard that no commit of the user has this key.
    #[must_use]
    pub(crate) fn unused_by(&self, user: &UserId) -> Guard {
        Guard::IdempotencyKeyUnused { user: user.clone(), key_sha256: self.key_sha256.clone() }
    }
}

/// What an earlier request under a key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What the request created.
    pub made: AggregateId,
    /// The fingerprint of the request: the SHA-256 of its meaning, in hexadecimal.
    pub body_sha256: String,
}
