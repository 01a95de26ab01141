//! The policy in Redis: stored, read, and followed by every process.

use std::sync::Arc;
use std::time::Duration;

use adapters::redis::Redis;
use anyhow::{Context, Result};
use events::Actor;
use events::execute::{self, Origin};
use events::policy::{LivePolicy, PolicySettings};
use events::ports::EventLogPort;

/// How often a process reads the policy again.
const REFRESH: Duration = Duration::from_secs(5);

/// Stores the given settings as the policy of all roles. Writes no event if nothing changes.
///
/// # Errors
/// If Redis does not take it.
pub(crate) async fn set(redis: &Redis, actor: Actor, given: &PolicySettings) -> Result<PolicySettings> {
    let origin = Origin { actor, trace: None };
    execute::policy(redis, &origin, given).await.map_err(|error| anyhow::anyhow!("{error}")).context("the policy")
}

/// Reads the stored policy and follows it from now on. Warns if this process was given other settings: it follows the
/// stored ones.
///
/// # Errors
/// If Redis does not answer.
pub(crate) async fn follow(redis: &Redis, given: &PolicySettings) -> Result<Arc<LivePolicy>> {
    let stored = stored(redis).await?;
    if given.clone().over(&stored) != stored {
        tracing::warn!(
            "this process was given another policy than the one all roles share, which it follows: `leadersboard \
             policy show` prints that one, `leadersboard policy set` changes it"
        );
    }
    let live = Arc::new(LivePolicy::from(stored.policy()));
    tokio::spawn(refresh(redis.clone(), Arc::clone(&live), stored));
    Ok(live)
}

async fn refresh(redis: Redis, live: Arc<LivePolicy>, mut known: PolicySettings) {
    loop {
        tokio::time::sleep(REFRESH).await;
        // An outage is told by whoever works on Redis.
        if let Ok(stored) = stored(&redis).await
            && stored != known
        {
            tracing::info!(policy = ?stored, "the policy has changed");
            live.set(stored.policy());
            known = stored;
        }
    }
}

/// Reads the stored policy.
///
/// # Errors
/// If Redis does not answer.
pub(crate) async fn stored(redis: &Redis) -> Result<PolicySettings> {
    Ok(redis.load_policy().await?.state.map(|record| record.settings).unwrap_or_default())
}
