//! Verifies the tokens of a provider.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use events::ports::{Identity, IdentityError, IdentityPort};

use super::claims::Rules;
use super::key_source::KeySource;
use super::options::{InvalidOidcOptions, OidcOptions};
use super::ring_provider;
use super::token::{Token, Unverified};

/// A provider whose tokens are accepted.
#[derive(Debug, Clone)]
pub struct Oidc {
    pub(super) rules: Arc<Rules>,
    pub(super) keys: Arc<KeySource>,
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
    /// Returns whose token this is by these rules.
    pub(super) async fn identity(&self, token: &Token<'_>, rules: &Rules) -> Result<Identity, IdentityError> {
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

/// Seconds since 1970. A clock that stands before that makes every token an expired one.
pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(f64::INFINITY, |since| since.as_secs() as f64)
}
