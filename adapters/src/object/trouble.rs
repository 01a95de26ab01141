//! Why a call of an object store failed, as a sentence for an operator.

use std::error::Error;

use events::ports::{PortError, StorageError};
use events::problem::Problem;
use object_store::client::{HttpError, HttpErrorKind};

/// The most of a server's own words that is repeated, in characters.
const MAX_SAID: usize = 300;

/// Why a call failed. The sentence names the bucket, what happened and, where that is known, the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub(super) String);

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Problem::from(error.0))
    }
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        Self::Away(Problem::from(error.0))
    }
}

/// What an answer means, beside that it is none of use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no such object.
    Missing,
    /// There is an object already that was to be created, or it is no longer what it was.
    Taken,
    /// Nothing of the object is where it was asked for.
    PastEnd,
    /// Anything else: the sentence says it.
    Failed(String),
}

/// What an error of the library means; `place` names the bucket and the server.
pub(super) fn meaning(error: &object_store::Error, place: &str) -> Meaning {
    use object_store::Error as E;
    let text = error.to_string();
    let code = between(&text, "<Code>", "</Code>");
    if code == Some("NoSuchBucket") {
        return Meaning::Failed(format!("{place} does not exist: create the bucket, or correct STORAGE_URL"));
    }
    match error {
        E::NotFound { .. } => Meaning::Missing,
        E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => Meaning::Taken,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Meaning::Failed(refused(place, code, &text)),
        _ if code == Some("InvalidRange") || text.contains("416 Range Not Satisfiable") => Meaning::PastEnd,
        _ => Meaning::Failed(failed(error, place, code, &text)),
    }
}

fn refused(place: &str, code: Option<&str>, text: &str) -> String {
    let cure = match code {
        Some("InvalidAccessKeyId" | "InvalidClientTokenId") => "the server does not know AWS_ACCESS_KEY_ID",
        Some("SignatureDoesNotMatch") => "AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID",
        Some("RequestTimeTooSkewed") => "the clock of this machine differs from the server's: set it",
        Some("ExpiredToken" | "InvalidToken") => "AWS_SESSION_TOKEN has expired, or is wrong",
        _ => "the account needs to read, write, list and delete objects in this bucket",
    };
    let said = code.map_or_else(|| said(text), str::to_owned);
    format!("{place} refused the request ({said}): {cure}")
}

fn failed(error: &object_store::Error, place: &str, code: Option<&str>, text: &str) -> String {
    if let Some(code) = code {
        let message = between(text, "<Message>", "</Message>").unwrap_or_default();
        return format!("{place} answered {code}: {}", said(message));
    }
    if text.contains("BareRedirect") || text.contains("incorrectly configured region") || text.contains("301 Moved") {
        return format!("{place} is in another region: give it as AWS_REGION");
    }
    match http(error).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => format!("{place} can't be reached: {}", root_cause(error)),
        Some(HttpErrorKind::Timeout) => format!("{place} did not answer in time"),
        Some(_) => format!("the connection to {place} broke: {}", root_cause(error)),
        None => format!("{place} failed: {}", root_cause(error)),
    }
}

/// The failed connection behind an error, if there is one.
fn http<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a HttpError> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// The cause behind all others: those before it only say that a request failed, and for which address.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    said(&cause.to_string())
}

/// Somebody else's words, as one short line.
fn said(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect::<String>().trim().to_owned()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    let (found, _) = rest.split_once(end)?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use object_store::Error as E;

    use super::*;

    fn answer(status: &str, code: &str) -> Box<dyn Error + Send + Sync> {
        format!("{status}: <Error><Code>{code}</Code><Message>some\nwords</Message></Error>").into()
    }

    #[test]
    fn each_kind_of_failure_is_told_with_its_cure() {
        let path = || "a/b".to_owned();
        let refused = |code| E::PermissionDenied { path: path(), source: answer("403", code) };
        for (error, told) in [
            (E::NotFound { path: path(), source: answer("404", "NoSuchBucket") }, "create the bucket"),
            (refused("InvalidAccessKeyId"), "does not know AWS_ACCESS_KEY_ID"),
            (refused("SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY"),
            (refused("AccessDenied"), "needs to read, write, list and delete"),
            (refused("RequestTimeTooSkewed"), "clock"),
            (E::Generic { store: "S3", source: answer("503", "SlowDown") }, "answered SlowDown: some words"),
            (E::Generic { store: "S3", source: "BareRedirect".into() }, "AWS_REGION"),
        ] {
            let Meaning::Failed(sentence) = meaning(&error, "bucket b") else { panic!("{error}") };
            assert!(sentence.starts_with("bucket b ") && sentence.contains(told), "{sentence}");
        }
        let missing = E::NotFound { path: path(), source: answer("404", "NoSuchKey") };
        assert_eq!(meaning(&missing, "b"), Meaning::Missing);
        let taken = E::AlreadyExists { path: path(), source: answer("412", "PreconditionFailed") };
        assert_eq!(meaning(&taken, "b"), Meaning::Taken);
        let past = E::Generic { store: "S3", source: answer("416", "InvalidRange") };
        assert_eq!(meaning(&past, "b"), Meaning::PastEnd);
    }
}
