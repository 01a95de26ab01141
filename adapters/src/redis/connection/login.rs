//! Opening a connection to a server that serves.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, ErrorKind, Pipeline, RedisConnectionInfo, RedisError, RedisResult, Value};

/// How long Redis may take to answer. Long, because under `appendfsync always` an answer waits for the disk.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to be opened, Redis's greeting included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The codes of a server that can't serve this connection; another connection may reach one that can.
const WRONG_SERVER: [&str; 4] = ["NOAUTH", "WRONGPASS", "READONLY", "MASTERDOWN"];

/// Opens a connection, logs in, and asks whether the server serves at all.
///
/// The client library would log in by itself, but keeps to itself what the server said when it refuses.
pub(crate) async fn open(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    let info = client.get_connection_info();
    let stranger = Client::open(info.clone().set_redis_settings(RedisConnectionInfo::default()))?;
    let mut connection = stranger.get_multiplexed_async_connection_with_config(&config).await.map_err(of_connection)?;
    let settings = info.redis_settings();
    let mut login = Pipeline::new();
    if let Some(password) = settings.password() {
        login.cmd("AUTH").arg(settings.username()).arg(password);
    }
    if settings.db() != 0 {
        login.cmd("SELECT").arg(settings.db());
    }
    ask(&mut connection, login).await?;
    Ok(connection)
}

/// Whether these commands and all that follow are carried, by a server that serves. One that refuses writes or is busy
/// will do.
pub(crate) async fn ask(connection: &mut MultiplexedConnection, mut commands: Pipeline) -> RedisResult<()> {
    let needed = commands.len();
    commands.cmd("PING").cmd("ROLE");
    let answers = connection.req_packed_commands(&commands, 0, needed + 2).await.map_err(of_connection)?;
    let mut answers = answers.into_iter();
    for answer in answers.by_ref().take(needed) {
        answer.extract_error()?;
    }
    for answer in answers {
        match answer {
            answer @ Value::ServerError(_) if is_of_wrong_server(&answer) => drop(answer.extract_error()?),
            answer if is_of_replica(&answer) => {
                let detail = Some("this server follows another one".to_owned());
                return Err(redis::make_extension_error("READONLY".to_owned(), detail));
            }
            _ => {}
        }
    }
    Ok(())
}

/// An error of the connection itself, without a source if the answer is not of Redis's protocol. A parsing error as its
/// source then always means that Redis holds something else than what was asked for.
pub(crate) fn of_connection(error: RedisError) -> RedisError {
    match error.kind() {
        ErrorKind::Parse => RedisError::from((ErrorKind::Parse, "the answer is not of Redis's protocol")),
        _ => error,
    }
}

/// Whether a connection is of no use after this error.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed)
        || error.code().is_some_and(|code| WRONG_SERVER.contains(&code))
}

/// Whether an answer is of a server that can't serve this connection.
pub(crate) fn is_of_wrong_server(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if WRONG_SERVER.contains(&error.code()))
}

/// Whether an answer to `ROLE` is a replica's.
fn is_of_replica(answer: &Value) -> bool {
    let Value::Array(parts) = answer else { return false };
    matches!(parts.first(), Some(Value::BulkString(role)) if role == b"slave")
}
