//! What is wrong with a Redis, in words: what happened, and how to cure it.

use events::ports::PortError;
use events::{Problem, StreamId};
use redis::{Client, ErrorKind, RedisError};

/// The code of an error about a key that holds a value of another type.
pub(crate) const WRONG_TYPE: &str = "WRONGTYPE";

/// What an error of Redis means. Never holds a password, nor anything that a server other than Redis answered.
#[must_use]
pub fn describe(error: &RedisError) -> String {
    told(error).0
}

/// How an operator cures what an error of Redis means.
#[must_use]
pub fn cure(error: &RedisError) -> &'static str {
    told(error).1
}

/// The address in a Redis URL, without user and password.
#[must_use]
pub fn address(url: &str) -> String {
    let shown = |client: Client| client.get_connection_info().addr().to_string();
    Client::open(url).map_or_else(|_| "an address that can't be read".to_owned(), shown)
}

/// Whether a Redis URL can be read.
#[must_use]
pub fn is_readable(url: &str) -> bool {
    Client::open(url).is_ok()
}

/// What Redis says beside the code of an error to a login that it needs none for.
const NEEDS_NO_LOGIN: &str = "without any password configured";

/// The code and the text of an error of Redis; of several commands that were sent together, of the first that failed.
pub(crate) fn answered(error: &RedisError) -> Option<(String, String)> {
    if let Some(errors) = error.clone().into_server_errors() {
        let (_, first) = errors.first()?;
        return Some((first.code().to_owned(), first.details().unwrap_or_default().to_owned()));
    }
    Some((error.code()?.to_owned(), error.detail().unwrap_or_default().to_owned()))
}

/// Returns why Redis did not answer, or that it holds something of another kind than what was asked for.
pub(crate) fn away(error: RedisError) -> PortError {
    let is_unreadable =
        std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<redis::ParsingError>);
    // It answered, and what it holds is not what it must be: waiting cures nothing.
    if answered(&error).is_some_and(|(code, _)| code == WRONG_TYPE) {
        return PortError::Corrupt(format!("{}: {}", describe(&error), cure(&error)).into());
    }
    if error.kind() == ErrorKind::UnexpectedReturnType || is_unreadable {
        let sentence = format!("Redis holds something else than it should: {error}");
        return PortError::Corrupt(Problem::caused_by(error, sentence));
    }
    PortError::Unavailable(problem(error))
}

/// Returns what an error of Redis means, with the error as its cause. An error whose text [`describe`] withholds is no
/// cause: a log would show it.
pub(crate) fn problem(error: RedisError) -> Problem {
    let sentence = describe(&error);
    if sentence.ends_with(&error.to_string()) { Problem::caused_by(error, sentence) } else { sentence.into() }
}

/// Whether a work stream or its consumer group is gone.
pub(crate) fn is_no_group(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP")
}

/// What Redis holds can't be read.
pub(crate) fn corrupt(what: impl Into<Problem>) -> PortError {
    PortError::Corrupt(what.into())
}

/// What Redis holds can't be read, as this error says.
pub(crate) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> PortError {
    let sentence = error.to_string();
    PortError::Corrupt(Problem::caused_by(error, sentence))
}

pub(crate) fn parse_stream_id(text: &str) -> Result<StreamId, PortError> {
    text.parse().map_err(unreadable)
}

fn told(error: &RedisError) -> (String, &'static str) {
    let answered = answered(error);
    let answered = answered.as_ref().map(|(code, text)| (code.as_str(), text.as_str()));
    match (error.kind(), answered) {
        (_, Some(("NOAUTH", _))) => (
            "Redis refuses the login: it requires a password, and none was given (NOAUTH)".to_owned(),
            "give the password in REDIS_URL, as in redis://:password@host:6379",
        ),
        (_, Some(("WRONGPASS", _))) | (ErrorKind::AuthenticationFailed, _) => (
            "Redis refuses the login: the user or the password is wrong, or the user is disabled (WRONGPASS)"
                .to_owned(),
            "give the right user and password in REDIS_URL",
        ),
        (_, Some(("ERR", text))) if text.contains(NEEDS_NO_LOGIN) => (
            "Redis has no password, and one was given".to_owned(),
            "remove the password from REDIS_URL, or set it in Redis (requirepass)",
        ),
        (_, Some(("NOPERM", text))) => {
            (format!("Redis refuses this user: {text}"), "allow the user of REDIS_URL all commands and keys")
        }
        (_, Some(("MISCONF", text))) => (
            format!("Redis refuses writes: {text}"),
            "make room on Redis's disk, or make its directory writable; its log names the error",
        ),
        (_, Some(("LOADING", _))) => ("Redis is still loading its data".to_owned(), "wait until it has"),
        (_, Some(("READONLY", text))) => {
            (format!("this Redis is a read-only replica: {text}"), "give the primary's address in REDIS_URL")
        }
        (_, Some(("MASTERDOWN", text))) => {
            (format!("this Redis is a replica without its primary: {text}"), "give the primary's address in REDIS_URL")
        }
        (_, Some((WRONG_TYPE, text))) => (
            format!("Redis holds a value of another type than it should: {text}"),
            "run `leadersboard doctor --repair`, which moves it into quarantine and restores what the log tells",
        ),
        (_, Some((code, text))) => (format!("Redis answers with an error: {code} {text}"), "see Redis's log"),
        (ErrorKind::InvalidClientConfig, None) => {
            ("REDIS_URL can't be read".to_owned(), "write it as redis://:password@host:6379")
        }
        // What was answered may be anything.
        (ErrorKind::Parse, None) => ("what answers is not a Redis".to_owned(), "give the right address in REDIS_URL"),
        (ErrorKind::Io, None) if error.is_timeout() => {
            ("Redis does not answer in time".to_owned(), "see what keeps Redis or the network")
        }
        _ => (format!("Redis is away: {error}"), "start it, or give the right REDIS_URL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(answer: &str) -> RedisError {
        let answer = redis::parse_redis_value(answer.as_bytes()).and_then(redis::Value::extract_error);
        answer.expect_err("an error")
    }

    #[test]
    fn each_refusal_is_told_apart_from_an_outage() {
        for (answer, words) in [
            ("-NOAUTH Authentication required.\r\n", "Redis refuses the login: "),
            ("-WRONGPASS invalid username-password pair or user is disabled.\r\n", "Redis refuses the login: "),
            ("-NOPERM this user has no permissions\r\n", "Redis refuses this user: "),
            ("-MISCONF Errors writing to the AOF file: No space left on device\r\n", "Redis refuses writes: "),
            ("-LOADING Redis is loading the dataset in memory\r\n", "Redis is still loading"),
            ("-READONLY You can't write against a read only replica.\r\n", "this Redis is a read-only replica"),
            ("-MASTERDOWN Link with MASTER is down\r\n", "this Redis is a replica without its primary"),
            ("-ERR max number of clients reached\r\n", "Redis answers with an error: ERR max number"),
            (
                "-ERR AUTH <password> called without any password configured for the default user.\r\n",
                "Redis has no password, and one was given",
            ),
            ("-WRONGTYPE key {leaderboard:main}:open\r\n", "Redis holds a value of another type than it should: key"),
        ] {
            let error = server_error(answer);
            assert!(describe(&error).starts_with(words), "{}", describe(&error));
        }
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert!(describe(&refused).starts_with("Redis is away: "), "{}", describe(&refused));
        let garbage = redis::parse_redis_value(b"HTTP/1.1 400 secret\r\n").expect_err("no Redis");
        assert_eq!(describe(&garbage), "what answers is not a Redis");
        assert_eq!(format!("{:#}", problem(garbage)), "what answers is not a Redis");
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let (shown, logged) = (describe(&refused), format!("{:#}", away(refused)));
        assert_eq!(shown.matches("refused").count(), logged.matches("refused").count(), "{logged} tells a cause twice");
    }

    #[test]
    fn an_address_has_no_password() {
        assert_eq!(address("redis://bob:hunter2@redis.example:6380/2"), "redis.example:6380");
        assert_eq!(address("redis+unix:///run/redis.sock?pass=hunter2"), "/run/redis.sock");
        assert_eq!(address("hunter2"), "an address that can't be read");
        assert!(is_readable("redis://host:6379") && !is_readable("foo"));
    }
}
