//! A signed token (RFC 7519), read with less trust than its library has.
//!
//! `jsonwebtoken` verifies the signature. What stands in the header and the claims is read here, for the library takes
//! the last of two claims with one name, and has a wider idea of numbers and issuers.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use events::json::read_distinct;
use jsonwebtoken::{Algorithm, AlgorithmFamily, Validation, decode};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::keys::KeySet;

/// The longest token, in bytes.
const MAX_BYTES: usize = 16 << 10;

/// The types of tokens that are accepted (RFC 9068, RFC 8725): others, such as a logout token, are signed by the same
/// keys.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token whose signature may be anything.
pub(super) struct Token<'a> {
    text: &'a str,
    algorithm: Algorithm,
    /// The name of its key.
    kid: Option<String>,
    claims: Map<String, Value>,
}

/// Why a signature is not that of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unverified {
    /// No key has its name and fits its algorithm.
    UnknownKey,
    /// It names no key, and several could be meant.
    Ambiguous,
    /// It is another's.
    Signature,
}

impl<'a> Token<'a> {
    /// Reads a token.
    pub(super) fn read(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("the token is longer than 16 KiB");
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, _signature] = parts[..] else { return Err("the token does not have three parts") };
        let header = object(header).ok_or("the token's header can't be read")?;
        let claims = object(claims).ok_or("the token's claims can't be read, or one is there twice")?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
        // A secret that both sides know is none: everybody knows the provider's keys.
        let algorithm = algorithm.filter(|algorithm| algorithm.family() != AlgorithmFamily::Hmac);
        let algorithm = algorithm.ok_or("the token's algorithm is not accepted: it is none of RS, PS, ES and EdDSA")?;
        if header.contains_key("crit") {
            return Err("the token's header demands an extension (crit)");
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(name)) => {
                let name = name.to_ascii_lowercase();
                if !TYPES.contains(&name.strip_prefix("application/").unwrap_or(&name)) {
                    return Err("the token's type is neither JWT nor at+jwt");
                }
            }
            Some(_) => return Err("the token's type is no text"),
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err("the name of the token's key is no text"),
        };
        Ok(Self { text, algorithm, kid, claims })
    }

    /// What it says, true or not.
    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Whether one of these keys has signed it. Keys that the token itself brings or names an address of do not count.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<(), Unverified> {
        let keys = keys.of(self.algorithm, self.kid.as_deref());
        match (keys.len(), &self.kid) {
            (0, _) => return Err(Unverified::UnknownKey),
            (2.., None) => return Err(Unverified::Ambiguous),
            _ => {}
        }
        let mut signature_only = Validation::new(self.algorithm);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let is_signed = |decoding| decode::<IgnoredAny>(self.text, decoding, &signature_only).is_ok();
        if keys.iter().any(|key| is_signed(&key.decoding)) { Ok(()) } else { Err(Unverified::Signature) }
    }
}

/// A part of a token: an object without two members of one name.
fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    read_distinct(std::str::from_utf8(&bytes).ok()?).ok()
}
