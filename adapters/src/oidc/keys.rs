//! The keys of a provider, as its key set names them (RFC 7517).

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde_json::{Map, Value};

/// The most keys that are read of a set.
const MAX_KEYS: usize = 64;
/// The size of an RSA modulus, in bytes: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The keys that may have signed a token.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    /// Its name.
    kid: Option<String>,
    kind: Kind,
    /// The only algorithm that it is for, if the set says so.
    only: Option<Algorithm>,
    pub(super) decoding: DecodingKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeySet {
    /// Reads a key set. Keys of other kinds and for other purposes are skipped.
    pub(super) fn read(set: &Map<String, Value>) -> Result<Self, &'static str> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or("the key set has no list `keys`")?;
        let keys: Vec<Key> = keys.iter().filter_map(Value::as_object).filter_map(key).take(MAX_KEYS).collect();
        if keys.is_empty() { Err("the key set has no key that can verify a token") } else { Ok(Self(keys)) }
    }

    /// The keys that may have signed a token with this algorithm that names this key.
    pub(super) fn of(&self, algorithm: Algorithm, kid: Option<&str>) -> Vec<&Key> {
        let is_named = |key: &&Key| kid.is_none() || key.kid.as_deref() == kid;
        self.0.iter().filter(is_named).filter(|key| key.fits(algorithm)).collect()
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
            _ if algorithm.family() == AlgorithmFamily::Rsa => Kind::Rsa,
            _ => return false,
        };
        self.kind == kind && self.only.is_none_or(|only| only == algorithm)
    }
}

fn key(jwk: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|all| !all.iter().any(|one| one == "verify")) {
        return None;
    }
    // An algorithm that is not known here is one for encryption, or a newer one.
    let only = match text("alg") {
        Some(name) => Some(name.parse().ok()?),
        None => None,
    };
    let (kind, decoding) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (Kind::Rsa, DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?),
        ("EC", Some("P-256")) => (Kind::P256, DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?),
        ("EC", Some("P-384")) => (Kind::P384, DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?),
        ("OKP", Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_components(text("x")?).ok()?),
        _ => return None,
    };
    if matches!(decoding.kind(), DecodingKeyKind::RsaModulusExponent { n, .. } if !RSA_BYTES.contains(&n.len())) {
        return None;
    }
    Some(Key { kid: text("kid").map(str::to_owned), kind, only, decoding })
}
