//! What a Redis must be so that nothing accepted is lost, and what follows where it is not.

use std::collections::HashMap;

use redis::{RedisError, RedisResult};

use crate::redis::Redis;
use crate::redis::connection::trouble::{away, cure, describe};
use events::ports::PortError;

/// The oldest Redis whose scripts know `flags=allow-oom`.
const OLDEST: (u32, u32) = (7, 0);

/// One property of a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Whether it will do.
    pub verdict: Verdict,
}

/// Whether a property of a Redis will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it must be.
    Good,
    /// It works, at a risk: what may be lost, and the cure.
    Risky(String),
    /// It can't work: why, and the cure.
    Unusable(String),
}

impl Redis {
    /// Looks at the version, persistence, eviction policy and memory of the server.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn check(&self) -> Result<Vec<Finding>, PortError> {
        let mut connection = self.connection();
        let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut connection).await.map_err(away)?;
        let text = |field: &str| info.get::<String>(field);
        let version = text("redis_version").unwrap_or_default();
        let persistence = async |name: &str| {
            let mut connection = self.connection();
            let read: RedisResult<HashMap<String, String>> =
                redis::cmd("CONFIG").arg("GET").arg(name).query_async(&mut connection).await;
            read.ok().and_then(|mut values| values.remove(name))
        };
        Ok(vec![
            check_version(&version),
            check_fsync(text("aof_enabled").as_deref(), persistence("appendfsync").await.as_deref()),
            check_eviction(text("maxmemory_policy").as_deref()),
            check_memory(info.get("used_memory"), info.get("maxmemory")),
        ])
    }

    /// Whether it accepts writes now. A role that starts while it does not waits until it does.
    pub async fn check_writes(&self) -> Finding {
        let ping: RedisResult<()> = redis::cmd("PING").query_async(&mut self.connection()).await;
        judge_writes(ping.as_ref().err())
    }
}

fn finding(name: &'static str, found: impl Into<String>, verdict: Verdict) -> Finding {
    Finding { name, found: found.into(), verdict }
}

fn check_version(version: &str) -> Finding {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let verdict = if found >= OLDEST {
        Verdict::Good
    } else {
        Verdict::Unusable("Redis 7.0 or newer, or Valkey, is needed".to_owned())
    };
    finding("version", version, verdict)
}

/// After a failure to write to its disk Redis refuses writes, and a PING with them.
fn judge_writes(refusal: Option<&RedisError>) -> Finding {
    match refusal.filter(|error| error.code() == Some("MISCONF")) {
        Some(error) => finding("writes", describe(error), Verdict::Unusable(cure(error).to_owned())),
        None => finding("writes", "accepted", Verdict::Good),
    }
}

fn check_fsync(aof: Option<&str>, fsync: Option<&str>) -> Finding {
    match (aof, fsync) {
        (Some("1"), Some("always")) => finding("persistence", "AOF, appendfsync always", Verdict::Good),
        (Some("1"), Some(other)) => {
            let risk = format!(
                "with appendfsync {other} a crash of Redis loses what it acknowledged in its last seconds: \
                 CONFIG SET appendfsync always"
            );
            finding("persistence", format!("AOF, appendfsync {other}"), Verdict::Risky(risk))
        }
        (Some("1"), None) => {
            let risk = "appendfsync can't be read; it must be always, or a crash of Redis loses acknowledged writes";
            finding("persistence", "AOF, appendfsync unknown", Verdict::Risky(risk.to_owned()))
        }
        _ => {
            let risk = "without an AOF a crash of Redis loses everything since its last snapshot: \
                        CONFIG SET appendonly yes, CONFIG SET appendfsync always";
            finding("persistence", "no AOF", Verdict::Risky(risk.to_owned()))
        }
    }
}

fn check_eviction(policy: Option<&str>) -> Finding {
    match policy {
        Some("noeviction") => finding("eviction", "noeviction", Verdict::Good),
        other => {
            let found = other.unwrap_or("unknown");
            let why =
                format!("{found} lets Redis delete jobs when memory is short: CONFIG SET maxmemory-policy noeviction");
            finding("eviction", found, Verdict::Unusable(why))
        }
    }
}

fn check_memory(used: Option<u64>, limit: Option<u64>) -> Finding {
    let used = used.unwrap_or(0);
    match limit {
        None | Some(0) => finding("memory", format!("{} MiB used, no limit", used >> 20), Verdict::Good),
        Some(limit) => {
            let found = format!("{} of {} MiB used", used >> 20, limit >> 20);
            let verdict = if used < limit / 10 * 9 {
                Verdict::Good
            } else {
                Verdict::Risky("nothing new is accepted at the limit: raise maxmemory".to_owned())
            };
            finding("memory", found, verdict)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_lose_jobs_is_told_with_its_cure() {
        assert_eq!(check_version("7.0.15").verdict, Verdict::Good);
        assert!(matches!(check_version("6.2.1").verdict, Verdict::Unusable(_)));
        assert_eq!(check_fsync(Some("1"), Some("always")).verdict, Verdict::Good);
        let Verdict::Risky(risk) = check_fsync(Some("1"), Some("everysec")).verdict else { panic!("not risky") };
        assert!(risk.contains("appendfsync always"), "{risk}");
        assert_eq!(judge_writes(None).verdict, Verdict::Good);
        let refused = redis::make_extension_error("MISCONF".to_owned(), None);
        assert!(matches!(judge_writes(Some(&refused)).verdict, Verdict::Unusable(_)));
        assert!(matches!(check_fsync(Some("0"), None).verdict, Verdict::Risky(_)));
        assert!(matches!(check_eviction(Some("allkeys-lru")).verdict, Verdict::Unusable(_)));
        assert!(matches!(check_memory(Some(95), Some(100)).verdict, Verdict::Risky(_)));
    }
}
