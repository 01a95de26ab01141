//! The provider of identities: where people sign in who have no token of this server's own.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::id::UserId;

/// Verifies the tokens of a provider.
#[async_trait]
pub trait IdentityPort: Send + Sync {
    /// Returns whose token this is, if the provider issued it for this server and it is valid now.
    async fn verify(&self, token: &str) -> Result<Identity, IdentityError>;
}

/// Signs people in through their browser: the authorization code flow, with PKCE.
#[async_trait]
pub trait SignInPort: Send + Sync {
    /// Begins a sign-in. The browser comes back to the address `back` with a code and the state.
    async fn begin(&self, back: &str) -> Result<SignIn, IdentityError>;

    /// Returns who has signed in. The caller has checked that the state in the address is that of this sign-in.
    async fn finish(&self, sign_in: &SignIn, code: &str) -> Result<Identity, IdentityError>;
}

/// A sign-in that has begun. Only the browser that began it may end it: keep it in a cookie of that browser, encrypted, or
/// on the server.
#[derive(Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Where to send the browser.
    pub url: String,
    /// Comes back with the browser: it says that this sign-in was begun here.
    pub state: String,
    /// Comes back in the token: it says that the token was made for this sign-in.
    pub nonce: String,
    /// Proves to the provider that the same program begins and ends the sign-in.
    pub verifier: String,
    /// The address that the browser comes back to.
    pub back: String,
}

/// Without the secrets.
impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("back", &self.back).finish_non_exhaustive()
    }
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
