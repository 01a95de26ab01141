//! Repeated requests: the same key with the same request gets the first answer again.
//!
//! The commit itself makes the record, with a guard for its absence. So two processes never create two objects for one
//! request. Within this process, a repeated request also waits while the first one is in flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use events::ports::JobStatusPort;
use events::{AggregateId, Idempotency, UserId};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;
use utoipa::IntoParams;

use crate::answer::error::Error;
use crate::request::auth::Caller;

const HEADER: &str = "idempotency-key";
/// The most characters a key may have.
const MAX_CHARACTERS: usize = 255;

/// The header, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what `Key` reads")]
pub(crate) struct KeyHeader {
    /// Names an action that must happen once, such as `7f3c2d1e`: choose a new key for each. The same key with the same request within 24 hours returns the first answer
    /// again; with another request it is a conflict.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]([ -~]{0,253}[!-~])?$")]
    key: Option<String>,
}

/// The SHA-256 of the header `Idempotency-Key`; `None` if the client sends none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(Option<String>);

impl Key {
    /// Returns the SHA-256 of the key, if there is one.
    pub(crate) fn sha256(&self) -> Option<String> {
        self.0.clone()
    }

    /// Returns the key with the fingerprint of a request, which is the SHA-256 of its content as JSON.
    pub(crate) fn with_fingerprint(&self, request: &Value) -> Option<Idempotency> {
        // The keys of objects are sorted, so equal requests have equal texts.
        let body_sha256 = hex::encode(Sha256::digest(request.to_string()));
        self.0.clone().map(|key_sha256| Idempotency { key_sha256, body_sha256 })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let fits = |text: &&str| {
            (1..=MAX_CHARACTERS).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        match (value.to_str().ok().filter(fits), values.next()) {
            (Some(key), None) => Ok(Self(Some(hex::encode(Sha256::digest(key))))),
            (_, Some(_)) => Err(Error::Invalid("the header Idempotency-Key was given twice".to_owned())),
            (None, None) => Err(Error::Invalid(format!(
                "the header Idempotency-Key must have 1 to {MAX_CHARACTERS} printable ASCII characters"
            ))),
        }
    }
}

/// The idempotency keys of all callers, used before or in flight.
pub(crate) struct IdempotencyKeys {
    status: Arc<dyn JobStatusPort>,
    in_flight: InFlight,
}

impl IdempotencyKeys {
    pub(crate) fn new(status: Arc<dyn JobStatusPort>) -> Self {
        Self { status, in_flight: InFlight::default() }
    }

    /// Waits until no other request of the caller with this key is in flight. Without a key, it returns `None` at once.
    pub(crate) async fn lock(&self, caller: &Caller, key: &Key) -> Option<KeyLock> {
        self.in_flight.lock(caller, key).await
    }

    /// Whether an earlier request of the caller had this key, whatever its fingerprint.
    pub(crate) async fn was_used(&self, caller: &Caller, key: &Key) -> Result<bool, Error> {
        let Some(key_sha256) = &key.0 else { return Ok(false) };
        Ok(self.status.answered(&caller.user, key_sha256).await?.is_some())
    }

    /// Returns the object that an earlier request of the caller with this key created.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the earlier request has another fingerprint.
    pub(crate) async fn made_before(
        &self,
        caller: &Caller,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<AggregateId>, Error> {
        let Some(wanted) = idempotency else { return Ok(None) };
        match self.status.answered(&caller.user, &wanted.key_sha256).await? {
            None => Ok(None),
            Some(answered) if answered.body_sha256 == wanted.body_sha256 => Ok(Some(answered.made)),
            Some(_) => Err(Error::Conflict(
                "this Idempotency-Key was used for another request in the last 24 hours".to_owned(),
            )),
        }
    }
}

type Lock = Arc<tokio::sync::Mutex<()>>;
type WhoseKey = (UserId, String);

/// The keys whose requests are in flight in this process.
#[derive(Debug, Default)]
struct InFlight(Arc<Mutex<HashMap<WhoseKey, Lock>>>);

/// The lock of one request on its key. The next request with the key goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct KeyLock {
    keys: Arc<Mutex<HashMap<WhoseKey, Lock>>>,
    whose: WhoseKey,
    guard: Option<OwnedMutexGuard<()>>,
}

impl InFlight {
    async fn lock(&self, caller: &Caller, key: &Key) -> Option<KeyLock> {
        let whose = (caller.user.clone(), key.0.clone()?);
        let lock = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(whose.clone()).or_default());
        // Made before the wait, so that an abandoned request is removed too.
        let mut locked = KeyLock { keys: Arc::clone(&self.0), whose, guard: None };
        locked.guard = Some(lock.lock_owned().await);
        Some(locked)
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // A request that waits for this key shares its lock.
        if keys.get(&self.whose).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            keys.remove(&self.whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::json;

    use super::*;
    use crate::request::auth::Role;

    async fn key(values: &[&str]) -> Result<Key, Error> {
        let mut request = Request::builder();
        for value in values {
            request = request.header(HEADER, *value);
        }
        Key::from_request_parts(&mut request.body(()).unwrap().into_parts().0, &()).await
    }

    #[tokio::test]
    async fn a_key_is_a_short_printable_text() {
        assert_eq!(key(&[]).await.unwrap(), Key(None));
        assert!(key(&["7f3c a"]).await.unwrap().0.is_some_and(|sha256| sha256.len() == 64));
        for bad in [&[""][..], &["a", "b"], &["ä"], &[&"x".repeat(256)]] {
            assert!(matches!(key(bad).await, Err(Error::Invalid(_))), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn equal_requests_have_one_fingerprint_however_they_are_written() {
        let key = key(&["k"]).await.unwrap();
        let read = |text: &str| key.with_fingerprint(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(read(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#), read(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(read(r#"{"a": 1}"#), read(r#"{"a": 2}"#));
        assert_eq!(Key(None).with_fingerprint(&json!({})), None);
    }

    #[tokio::test]
    async fn one_request_of_a_key_is_in_flight_at_a_time_and_none_leaves_a_trace() {
        let in_flight = InFlight::default();
        let caller = |name: &str| Caller { user: name.parse().unwrap(), role: Role::User };
        let (alice, bob, key) = (caller("alice"), caller("bob"), key(&["k"]).await.unwrap());
        let first = in_flight.lock(&alice, &key).await.unwrap();
        assert!(in_flight.lock(&bob, &key).await.is_some(), "a key is each user's own");
        let second = in_flight.lock(&alice, &key);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        {
            let given_up = in_flight.lock(&alice, &key);
            tokio::pin!(given_up);
            assert!(futures::poll!(&mut given_up).is_pending());
        }
        drop(first);
        drop(second.await);
        assert!(in_flight.0.lock().unwrap().is_empty());
    }
}
