//! An OpenID Connect provider: whose token a request carries.
//!
//! `token.rs` reads a token, `claims.rs` judges what it says, and `keys.rs` has the keys that may have signed it.
//! `key_source.rs` gets them from the provider. `ring_provider.rs` computes. `code_flow.rs` signs people in through their
//! browser.

mod claims;
mod code_flow;
mod endpoint;
mod key_source;
mod keys;
mod options;
mod ring_provider;
mod token;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use events::ports::{Identity, IdentityError, IdentityPort};

pub use code_flow::OidcSignIn;
pub use options::{InvalidOidcOptions, OidcClient, OidcOptions};

use claims::Rules;
use key_source::KeySource;
use token::{Token, Unverified};

/// A provider whose tokens are accepted.
#[derive(Debug, Clone)]
pub struct Oidc {
    rules: Arc<Rules>,
    keys: Arc<KeySource>,
}

impl Oidc {
    /// A provider with these settings. Nothing is asked of it yet.
    ///
    /// # Errors
    /// Which setting can't be used.
    pub fn new(options: &OidcOptions) -> Result<Self, InvalidOidcOptions> {
        ring_provider::install();
        let rules = Rules::of(options)?;
        let keys = KeySource::new(options.issuer.trim())?;
        Ok(Self { rules: Arc::new(rules), keys: Arc::new(keys) })
    }

    /// Gets the keys of the provider, so that the first token finds them.
    ///
    /// # Errors
    /// Why the provider can't be used at the moment.
    pub async fn warm_up(&self) -> Result<(), String> {
        let known = self.keys.current();
        Arc::clone(&self.keys).refresh(known).await.map(drop)
    }
}

#[async_trait]
impl IdentityPort for Oidc {
    async fn verify(&self, token: &str) -> Result<Identity, IdentityError> {
        let token = Token::read(token).map_err(IdentityError::Refused)?;
        self.identity(&token, &self.rules).await
    }
}

impl Oidc {
    /// Returns whose token this is.
    async fn identity(&self, token: &Token<'_>, rules: &Rules) -> Result<Identity, IdentityError> {
        // Before the signature: only a token that could be valid makes the server ask the provider.
        let identity = rules.judge(token.claims(), unix_now()).map_err(IdentityError::Refused)?;
        let known = self.keys.current();
        let mut verified = token.verify(&known);
        if let Err(unverified) = verified {
            // The provider may have new keys, under new names or under the old ones.
            match Arc::clone(&self.keys).refresh(Arc::clone(&known)).await {
                Ok(keys) if !Arc::ptr_eq(&keys, &known) => verified = token.verify(&keys),
                Err(why) if unverified == Unverified::UnknownKey => return Err(IdentityError::Away(why)),
                Ok(_) | Err(_) => {}
            }
        }
        self.keys.refresh_if_old();
        verified.map(|()| identity).map_err(|unverified| {
            IdentityError::Refused(match unverified {
                Unverified::UnknownKey => "the token is signed by no key of the provider",
                Unverified::Ambiguous => "the token does not name its key, and the provider has several",
                Unverified::Signature => "the token's signature is wrong",
            })
        })
    }
}

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "it is exact for as long as there are clocks")]
fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs() as f64)
}

#[cfg(test)]
mod tests;
