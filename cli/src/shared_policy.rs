//! The policy in Redis: stored, read, and followed by every process.

use std::sync::Arc;
use std::time::Duration;

use adapters::redis::Redis;
use anyhow::{Context, Result};
use events::Actor;
use events::execute::{self, Origin};
use events::policy::{LivePolicy, PolicySettings};
use events::ports::EventLogPort;

use crate::options::classes;

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
        // The parts that work on Redis tell of an outage.
        if let Ok(stored) = stored(&redis).await
            && stored != known
        {
            tracing::info!("the policy has changed: {}", changes(&known, &stored));
            live.set(stored.policy());
            known = stored;
        }
    }
}

/// The settings that changed, as they are set: `retention=1s max_retries=5`.
fn changes(before: &PolicySettings, after: &PolicySettings) -> String {
    let document = |settings: &PolicySettings| serde_json::to_value(settings).unwrap_or_default();
    let (before, document) = (document(before), document(after));
    let changed = document.as_object().into_iter().flatten().filter(|(name, value)| before.get(name) != Some(value));
    let shown = changed.map(|(name, value)| match name.as_str() {
        "classes" => {
            let classes = after.classes.iter().flatten();
            let shown = classes.map(|class| classes::in_full(&class.name, &class.class()));
            format!("resource_classes={}", shown.collect::<Vec<_>>().join(","))
        }
        name => match name.strip_suffix("_ms") {
            Some(name) => format!("{name}={}", times(value)),
            None => format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        },
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Milliseconds, or a list of them, as times.
fn times(value: &serde_json::Value) -> String {
    let of = |value: &serde_json::Value| {
        let time = Duration::from_millis(value.as_u64().unwrap_or_default());
        humantime::format_duration(time).to_string().replace(' ', "").replace("days", "d").replace("day", "d")
    };
    value.as_array().map_or_else(|| of(value), |all| all.iter().map(of).collect::<Vec<_>>().join(","))
}

/// Reads the stored policy.
///
/// # Errors
/// If Redis does not answer.
pub(crate) async fn stored(redis: &Redis) -> Result<PolicySettings> {
    Ok(redis.load_policy().await?.state.map(|record| record.settings).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use events::policy::LimitSettings;

    use super::*;

    #[test]
    fn a_change_of_the_policy_is_told_as_it_is_set() {
        let before = PolicySettings { lease_ms: Some(30_000), max_retries: Some(3), ..PolicySettings::default() };
        let classes = classes::read("small=30m").ok().map(|classes| classes.0);
        let limits = LimitSettings {
            max_queued_per_user: Some(7),
            concurrency_policy: Some(events::ConcurrencyPolicy::Queue),
            ..LimitSettings::default()
        };
        for (given, told) in [
            (PolicySettings { retention_ms: Some(1_000), ..PolicySettings::default() }, "retention=1s"),
            (PolicySettings { submission_ttl_ms: Some(86_400_000), ..PolicySettings::default() }, "submission_ttl=1d"),
            (PolicySettings { max_retries: Some(5), ..PolicySettings::default() }, "max_retries=5"),
            (
                PolicySettings { retry_backoff_ms: Some(vec![500, 90_000]), ..PolicySettings::default() },
                "retry_backoff=500ms,1m30s",
            ),
            (PolicySettings { limits, ..PolicySettings::default() }, "concurrency_policy=queue max_queued_per_user=7"),
            (
                PolicySettings { classes, ..PolicySettings::default() },
                "resource_classes=small=30m:processes=4096:output=20GiB:log=256MiB:gpus=0",
            ),
            (PolicySettings::default(), ""),
        ] {
            assert_eq!(changes(&before, &given.over(&before)), told);
        }
    }
}
