//! An OpenID Connect provider: whose token a request carries.
//!
//! `verifier.rs` is the adapter. `token.rs` reads a token, `claims.rs` judges what it says, and `keys.rs` has the keys that
//! may have signed it. `key_source.rs` gets them from the provider. `ring_provider.rs` computes. `code_flow.rs` signs people
//! in through their browser.

mod claims;
mod code_flow;
mod endpoint;
mod key_source;
mod keys;
mod options;
mod ring_provider;
mod token;
mod verifier;

pub use code_flow::OidcSignIn;
pub use options::{InvalidOidcOptions, OidcClient, OidcOptions};
pub use verifier::Oidc;

#[cfg(test)]
mod tests;
