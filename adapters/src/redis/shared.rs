//! The connection that many callers share, replaced when it has fallen silent.
//!
//! A connection manager opens its connection anew when that breaks. One that stays open and carries nothing, because
//! something between here and Redis has forgotten it, the manager keeps, and every call on it times out. So somebody
//! asks it now and then, and replaces it when there is no answer.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult};
use tokio::time::sleep;

use super::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};

/// How often the connection is asked whether it still carries anything.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A connection for calls that must never block. Clones share it.
#[derive(Clone)]
pub(super) struct Shared(Arc<RwLock<ConnectionManager>>);

impl Shared {
    pub(super) async fn open(client: Client) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await?;
        let shared = Self(Arc::new(RwLock::new(manager)));
        tokio::spawn(watch(Arc::downgrade(&shared.0), client));
        Ok(shared)
    }

    /// The connection as it is now. What is under way on an earlier one comes to its own end.
    pub(super) fn get(&self) -> ConnectionManager {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_min_delay(Duration::from_millis(20))
        .set_max_delay(Duration::from_millis(250))
        .set_number_of_retries(2)
}

/// Runs until nobody shares the connection any more.
async fn watch(shared: Weak<RwLock<ConnectionManager>>, client: Client) {
    loop {
        sleep(ASK_EVERY).await;
        let Some(mut connection) = shared.upgrade().map(|shared| Shared(shared).get()) else { return };
        let answer = redis::cmd("PING").query_async::<()>(&mut connection).await;
        if answer.is_err_and(|error| error.is_timeout())
            && let Some(shared) = shared.upgrade()
            && let Ok(fresh) = ConnectionManager::new_lazy_with_config(client.clone(), config())
        {
            tracing::warn!("Redis does not answer on a connection that is open; another is opened");
            *shared.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}
