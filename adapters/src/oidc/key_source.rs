//! Gets the keys of a provider, seldom: nobody can make the server ask again and again.

use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::keys::KeySet;
use super::options::{InvalidOidcOptions, issuer};

/// The least time between two questions: after an answer, and after a failure.
const AFTER_ANSWER: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Keys are asked for again after this time, for the provider may have withdrawn one.
const OLD: Duration = Duration::from_mins(10);

/// The keys of a provider, as far as they are known.
#[derive(Debug)]
pub(super) struct KeySource {
    issuer: String,
    discovery: String,
    endpoint: Endpoint,
    known: Lock<Known>,
    /// The last question. Who holds it may ask.
    last: Mutex<Option<Last>>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<KeySet>,
    set: Map<String, Value>,
    configuration: Arc<Map<String, Value>>,
    since: Option<Instant>,
}

/// A question, and why it failed.
#[derive(Debug)]
struct Last {
    at: Instant,
    failure: Option<String>,
}

impl KeySource {
    /// The keys of the provider at this address.
    pub(super) fn new(text: &str) -> Result<Self, InvalidOidcOptions> {
        let endpoint = Endpoint::new(&issuer(text)?)?;
        let discovery = format!("{}/.well-known/openid-configuration", text.trim_end_matches('/'));
        Ok(Self { issuer: text.to_owned(), discovery, endpoint, known: Lock::default(), last: Mutex::new(None) })
    }

    /// The keys that are known.
    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.known().keys)
    }

    /// What the provider says of itself; it is asked if that is not known.
    pub(super) async fn configuration(self: &Arc<Self>) -> Result<Arc<Map<String, Value>>, String> {
        let known = || Some(Arc::clone(&self.known().configuration)).filter(|known| !known.is_empty());
        if let Some(known) = known() {
            return Ok(known);
        }
        Arc::clone(self).refresh(self.current()).await?;
        known().ok_or_else(|| "the provider has no configuration".to_owned())
    }

    /// Speaks to the provider.
    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks the provider for its keys, unless that was done a moment ago or others have done it since the caller saw
    /// `seen`. The keys that are known stay if it fails.
    pub(super) async fn refresh(self: Arc<Self>, seen: Arc<KeySet>) -> Result<Arc<KeySet>, String> {
        // On its own: a client that hangs up must not end a question that others wait for.
        let asking = tokio::spawn(async move { self.ask_once(&seen).await });
        asking.await.unwrap_or_else(|error| Err(format!("the provider could not be asked: {error}")))
    }

    /// Asks the provider for its keys behind the caller's back, if the known ones are old.
    pub(super) fn refresh_if_old(self: &Arc<Self>) {
        let is_old = {
            let mut known = self.known();
            let is_old = known.since.is_some_and(|since| since.elapsed() > OLD);
            if is_old {
                known.since = Some(Instant::now());
            }
            is_old
        };
        if is_old {
            let (this, seen) = (Arc::clone(self), self.current());
            tokio::spawn(async move { this.ask_once(&seen).await });
        }
    }

    async fn ask_once(&self, seen: &Arc<KeySet>) -> Result<Arc<KeySet>, String> {
        let mut last = self.last.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(&current, seen) {
            return Ok(current);
        }
        if let Some(Last { at, failure }) = &*last {
            let pause = if failure.is_some() { AFTER_FAILURE } else { AFTER_ANSWER };
            if at.elapsed() < pause {
                return failure.clone().map_or(Ok(current), Err);
            }
        }
        let asked = self.ask().await;
        let failure = asked.as_ref().err().cloned();
        let before = last.replace(Last { at: Instant::now(), failure: failure.clone() });
        let before = before.and_then(|before| before.failure);
        match &failure {
            Some(error) if before != failure => {
                tracing::warn!(
                    error,
                    "the OpenID provider can't be asked for its keys: those that are known stay valid"
                );
            }
            None if before.is_some() => tracing::info!("the OpenID provider answers again"),
            Some(_) | None => {}
        }
        let (configuration, set) = asked?;
        self.learn(configuration, set).map_err(str::to_owned)
    }

    /// Gets the provider's configuration, and the key set from the address in it.
    async fn ask(&self) -> Result<(Map<String, Value>, Map<String, Value>), String> {
        let configuration = self.endpoint.get(&self.discovery).await?;
        let named = |name: &str| configuration.get(name).and_then(Value::as_str).unwrap_or_default();
        if named("issuer") != self.issuer {
            return Err(format!(
                "the provider names itself {:?}, not {:?} as OIDC_ISSUER does",
                named("issuer"),
                self.issuer
            ));
        }
        let set = self.endpoint.get(named("jwks_uri")).await?;
        KeySet::read(&set)?;
        Ok((configuration, set))
    }

    fn learn(&self, configuration: Map<String, Value>, set: Map<String, Value>) -> Result<Arc<KeySet>, &'static str> {
        let mut known = self.known();
        known.configuration = Arc::new(configuration);
        known.since = Some(Instant::now());
        if known.set != set {
            known.keys = Arc::new(KeySet::read(&set)?);
            known.set = set;
        }
        Ok(Arc::clone(&known.keys))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
