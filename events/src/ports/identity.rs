//! The provider of identities: where people sign in who have no token of this server's own.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::UserId;

/// Verifies the tokens of a provider.
#[async_trait]
pub trait IdentityPort: Send + Sync {
    /// Returns whose token this is, if the provider issued it for this server and it is valid now.
    async fn verify(&self, token: &str) -> Result<Identity, IdentityError>;
}

/// A user of a provider, as a token tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user. The name begins with `oidc:`, so it is never that of a token.
    pub user: UserId,
    /// Whether the provider makes the user an admin.
    pub is_admin: bool,
    /// How long the token stays valid.
    pub valid_for: Duration,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is not valid, for this reason: a sentence without anything of the token.
    #[error("{0}")]
    Refused(&'static str),
    /// The provider does not answer, and the keys that are known do not suffice.
    #[error("{0}")]
    Away(String),
}
