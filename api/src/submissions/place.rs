//! The place of an upload among those of its user that are in flight on any host, and the bytes reserved for it.
//!
//! An upload reserves its bytes before it keeps them, so parallel uploads never exceed the quota together. A small upload
//! asks Redis twice: when it begins and when it ends.

use std::sync::Arc;
use std::time::Duration;

use events::LimitReached;
use events::policy::LivePolicy;
use events::ports::{ReserveAsk, Reserved, UploadInFlight, UploadsPort};
use events::quota::too_many_bytes;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument;

use crate::answer::error::{Error, chain};
use crate::request::auth::Caller;
use crate::request::idempotency::{IdempotencyKeys, Key};

/// How many bytes an upload reserves ahead of those that came. Also how many it may go on with until it asks again.
const AHEAD_BYTES: u64 = 8 << 20;

/// How often a place is renewed, whether bytes come or not: several times in its life.
const RENEWED_EVERY: Duration = Duration::from_secs(15);

/// How long an answer waits for the release of its place. The place expires by itself if Redis is away.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many bytes the files of a request can have, by its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) at_least: u64,
    pub(super) at_most: u64,
}

/// The places of all uploads.
pub(crate) struct Places {
    pub(crate) port: Arc<dyn UploadsPort>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) keys: Arc<IdempotencyKeys>,
}

/// The place of one upload. It is renewed while it is held, and released at the latest when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    caller: Caller,
    key: Key,
    upload: UploadInFlight,
    announced: Announced,
    /// The bytes of the files so far.
    taken: u64,
    /// What is reserved, as [`Self::shared`] has it.
    reserved: u64,
    /// What is reserved. Locked while Redis is asked, so that a renewal never takes back what was reserved meanwhile.
    shared: Arc<Mutex<u64>>,
    renewal: JoinHandle<()>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Released,
}

impl Place {
    /// Takes a place, or says which limit refuses it.
    pub(super) async fn take(
        places: &Arc<Places>,
        caller: &Caller,
        key: &Key,
        upload: UploadInFlight,
        announced: Announced,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Mutex::new(0));
        let mut place = Self {
            places: Arc::clone(places),
            caller: caller.clone(),
            key: key.clone(),
            renewal: renew(Arc::clone(places), upload.clone(), Arc::clone(&shared)),
            upload,
            announced,
            taken: 0,
            reserved: 0,
            shared,
            state: State::Held,
        };
        let at_once = places.policy.get().limits.uploads_in_flight;
        place.reserve(announced.at_least, Some(at_once)).await?;
        Ok(place)
    }

    /// Counts bytes that came, before they are kept.
    pub(super) async fn count(&mut self, bytes: u64) -> Result<(), Error> {
        self.taken += bytes;
        if self.taken <= self.reserved { Ok(()) } else { self.reserve(self.taken, None).await }
    }

    /// Gives the place back.
    pub(super) async fn release(mut self) {
        if let Some(released) = self.releasing() {
            // Its failure costs only the time until the place expires.
            let _ = timeout(RELEASE_TIMEOUT, released).await;
        }
    }

    async fn reserve(&mut self, needed: u64, at_once: Option<u64>) -> Result<(), Error> {
        let limit = self.places.policy.get().limits.stored_bytes;
        let mut ask = ReserveAsk {
            needed_bytes: needed,
            wanted_bytes: needed.saturating_add(AHEAD_BYTES).min(self.announced.at_most.max(needed)),
            at_once,
            stored_bytes: Some(limit),
        };
        let mut reserved = self.shared.lock().await;
        loop {
            match self.places.port.reserve(&self.upload, &ask).await? {
                Reserved::Bytes(bytes) => {
                    (*reserved, self.reserved) = (bytes, bytes);
                    return Ok(());
                }
                Reserved::TooMany => {
                    return Err(LimitReached::UploadsInFlight { limit: at_once.unwrap_or_default() }.into());
                }
                Reserved::Full => return Err(Error::Full),
                // A repeated request adds nothing to what is stored.
                Reserved::TooLarge { .. }
                    if ask.stored_bytes.is_some() && self.places.keys.was_used(&self.caller, &self.key).await? =>
                {
                    ask.stored_bytes = None;
                }
                Reserved::TooLarge { stored, in_flight } => {
                    return Err(too_many_bytes(limit, stored, in_flight).into());
                }
            }
        }
    }

    /// Ends the renewal and begins the release, once.
    fn releasing(&mut self) -> Option<JoinHandle<()>> {
        if std::mem::replace(&mut self.state, State::Released) == State::Released {
            return None;
        }
        self.renewal.abort();
        let (places, upload, shared) = (Arc::clone(&self.places), self.upload.clone(), Arc::clone(&self.shared));
        let release = async move {
            // An aborted renewal has let go of this.
            let _turn = shared.lock().await;
            if let Err(error) = places.port.release(&upload).await {
                tracing::warn!(error = chain(&error), "the place of an upload is not released; it expires");
            }
        };
        tokio::runtime::Handle::try_current().ok().map(|runtime| runtime.spawn(release.in_current_span()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.releasing();
    }
}

/// Renews a place until it is aborted, so that a client that sends nothing for a while keeps it.
fn renew(places: Arc<Places>, upload: UploadInFlight, shared: Arc<Mutex<u64>>) -> JoinHandle<()> {
    let renewal = async move {
        loop {
            tokio::time::sleep(RENEWED_EVERY).await;
            let reserved = shared.lock().await;
            let ask =
                ReserveAsk { needed_bytes: *reserved, wanted_bytes: *reserved, at_once: None, stored_bytes: None };
            if let Err(error) = places.port.reserve(&upload, &ask).await {
                tracing::warn!(error = chain(&error), "the place of an upload is not renewed");
            }
        }
    };
    tokio::spawn(renewal.in_current_span())
}
