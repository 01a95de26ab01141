//! Numbered steps that take a Redis from one version of the key schema to the next.
//!
//! The version is the field `version` of the schema key; `step:<n>` beside it tells when each step was taken, and
//! `began` when the first was, to the microsecond. Taking a step is one Lua script, so two processes that migrate at
//! once take it once. What a step needs beforehand may be done twice without harm; a step that is cut short there is
//! not taken, and begun anew by the next migration.

use std::time::Duration;

use projections::Keyspace;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisConnectionInfo, RedisError, Script};

/// The version this program reads and writes: the number of the last step.
pub const CURRENT: u32 = 5;

/// How long Redis may take to let a connection in, and to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The steps in their order: a name, and what it needs.
const STEPS: [(&str, Need); CURRENT as usize] = [
    ("create the event log, the read models and the work streams", Need::Nothing),
    (
        "add read models for slots, hourly limits and stored sizes; only events delete the records of jobs",
        Need::Rebuild,
    ),
    ("add a leaderboard for each metric", Need::Rebuild),
    // No log has a run yet whose end is to be recorded.
    ("list the ended runs that MLflow does not have yet", Need::Nothing),
    ("keep the records of each metric, also those of expired jobs", Need::Rebuild),
];

/// What a step needs before it counts as taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Nothing,
    /// All read models made anew from the log, if there is one.
    Rebuild,
}

/// Why a Redis was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Redis did not answer, or refused.
    #[error("Redis did not take the migration: {0}")]
    Redis(#[from] RedisError),
    /// The read models could not be made anew.
    #[error("the read models could not be made anew from the log: {0}")]
    Rebuild(String),
    /// A newer program was here.
    #[error("the key schema has version {found}, and this program knows only {CURRENT}: run a newer LeadersBoard")]
    Newer {
        /// The version found.
        found: u32,
    },
}

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The version before; 0 is an empty Redis.
    pub from: u32,
    /// The version after.
    pub to: u32,
    /// The names of the steps taken.
    pub taken: Vec<&'static str>,
}

/// The version of the key schema at `url`; 0 is an empty Redis.
///
/// # Errors
/// If Redis does not answer.
pub async fn version(url: &str, keys: &Keyspace) -> Result<u32, MigrateError> {
    Ok(read_version(&mut connect(url).await?, keys).await?)
}

/// When the board at `url` began, by its Redis' clock, in seconds since the Unix epoch, with a fraction of six digits:
/// a Redis that was emptied and migrated anew is another board, although its namespace has the same name. One that
/// began before fractions were kept has none.
///
/// # Errors
/// If Redis does not answer.
pub async fn began(url: &str, keys: &Keyspace) -> Result<String, MigrateError> {
    let mut connection = connect(url).await?;
    let (exactly, seconds): (Option<String>, Option<String>) =
        redis::cmd("HMGET").arg(keys.schema()).arg(&["began", "step:1"]).query_async(&mut connection).await?;
    Ok(exactly.or(seconds).unwrap_or_else(|| "0".to_owned()))
}

/// Takes the steps that are missing at `url`. `rebuild` makes all read models anew from the log, or says why it can't.
///
/// # Errors
/// If Redis does not answer, the read models can't be made anew, or a newer program has been here.
pub async fn migrate(
    url: &str,
    keys: &Keyspace,
    rebuild: impl AsyncFn() -> Result<(), String>,
) -> Result<Report, MigrateError> {
    let mut connection = connect(url).await?;
    let from = read_version(&mut connection, keys).await?;
    if from > CURRENT {
        return Err(MigrateError::Newer { found: from });
    }
    let mut taken = Vec::new();
    for (number, (name, need)) in (1..).zip(STEPS).filter(|(number, _)| *number > from) {
        if need == Need::Rebuild && has_log(&mut connection, keys).await? {
            rebuild().await.map_err(MigrateError::Rebuild)?;
        }
        if take(&mut connection, keys, number).await? {
            taken.push(name);
        }
    }
    Ok(Report { from, to: CURRENT, taken })
}

async fn connect(url: &str) -> Result<MultiplexedConnection, RedisError> {
    // The client's own bound of half a second is too short for a Redis that is busy or syncs every write.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_LIMIT))
        .set_response_timeout(Some(ANSWER_LIMIT));
    let info = Client::open(url)?.get_connection_info().clone();
    let stranger = Client::open(info.clone().set_redis_settings(RedisConnectionInfo::default()))?;
    let mut connection = stranger.get_multiplexed_async_connection_with_config(&config).await?;
    // The client would log in by itself, but keeps to itself what Redis said when it refuses.
    let settings = info.redis_settings();
    if let Some(password) = settings.password() {
        let mut login = redis::cmd("AUTH");
        login.arg(settings.username()).arg(password).query_async::<()>(&mut connection).await?;
    }
    if settings.db() != 0 {
        redis::cmd("SELECT").arg(settings.db()).query_async::<()>(&mut connection).await?;
    }
    Ok(connection)
}

async fn read_version(connection: &mut MultiplexedConnection, keys: &Keyspace) -> Result<u32, RedisError> {
    let version: Option<u32> = redis::cmd("HGET").arg(keys.schema()).arg("version").query_async(connection).await?;
    Ok(version.unwrap_or(0))
}

async fn has_log(connection: &mut MultiplexedConnection, keys: &Keyspace) -> Result<bool, RedisError> {
    redis::cmd("EXISTS").arg(keys.events()).query_async(connection).await
}

/// Takes one step, unless another process has.
async fn take(connection: &mut MultiplexedConnection, keys: &Keyspace, number: u32) -> Result<bool, RedisError> {
    // ARGV[1] is the number of the step. Answers 1 if it was taken, 0 if the version is not the one before it.
    let script = "if tonumber(redis.call('HGET', KEYS[1], 'version') or '0') ~= tonumber(ARGV[1]) - 1 then return 0 end
         local now = redis.call('TIME')
         redis.call('HSET', KEYS[1], 'version', ARGV[1], 'step:' .. ARGV[1], now[1])
         if ARGV[1] == '1' then
           redis.call('HSET', KEYS[1], 'began', string.format('%d.%06d', now[1], now[2]))
         end
         return 1";
    Script::new(script).key(keys.schema()).arg(number).invoke_async(connection).await
}
