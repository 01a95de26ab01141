//! Every way in which a request can go wrong, and the answer to it.

use std::error::Error as StdError;
use std::time::Duration;

use axum::http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use events::execute::ExecuteError;
use events::id::InvalidId;
use events::ports::{PortError, Room, StorageError};
use events::{JobId, LimitReached, job, submission};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::json_text::json_text;
use crate::answer::limited::LimitedBody;
use crate::request::id::RequestId;

/// The seconds after which to retry an error that passes by itself.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");
/// The seconds after which to retry an error that passes only when somebody makes room.
const RETRY_AFTER_ROOM_S: HeaderValue = HeaderValue::from_static("60");
/// When to try again to open a stream: nobody knows when one of the user's ends.
const STREAMS_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request failed. The texts are sentences for people, and name the cause.
#[derive(Debug)]
pub(crate) enum Error {
    /// It breaks a rule.
    Invalid(String),
    /// It does not tell who asks.
    Unauthenticated(&'static str),
    /// The same, from a client that tries many tokens: it loses its connection.
    Guessing(&'static str),
    /// The OpenID provider is away, so nobody can tell who asks. The text is for the log.
    ProviderAway(String),
    /// The caller may not do this.
    Forbidden(String),
    /// It does not exist, or belongs to another user. Both get one answer, so that nobody learns what exists.
    Unknown(String),
    /// The path knows other methods.
    Method(String),
    /// Its body stopped coming.
    Stalled,
    /// Things are not in a state in which this can be done.
    Conflict(String),
    /// A limit of the user's was reached, and these of their jobs are known to keep it so.
    Limited(LimitReached, Vec<JobId>),
    /// The user follows this many streams, which is the limit.
    TooManyStreams(usize),
    /// It is larger than a limit.
    TooLarge(String),
    /// Its path and query are too long.
    TargetTooLong(String),
    /// Its body has an unsupported media type.
    MediaType(String),
    /// Other requests use what it needs, or it needs too much.
    Busy(String),
    /// There is too little memory to answer it.
    Overloaded,
    /// This process ends.
    Draining,
    /// Redis is away. The text is for the log.
    Unavailable(String),
    /// Redis is full.
    Full,
    /// There is too little room for files.
    StorageFull(Room),
    /// Storage failed. The text is for the log.
    Storage(String),
    /// What is stored of it can't be read. The text is for the log.
    Unreadable(String),
    /// Something is broken. The text is for the log.
    Internal(String),
    /// Its handler panicked. The log has it already.
    Panicked,
    /// An upload failed after its body had begun to come.
    Upload(Kept, Box<Error>),
}

/// What is kept of a failed upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing.
    Nothing,
    /// All of it or nothing: whether it was committed is not known.
    Perhaps,
}

impl Kept {
    /// How the sentence of the failure begins.
    const fn sentence(self) -> &'static str {
        match self {
            Self::Nothing => "nothing of this upload was kept: ",
            Self::Perhaps => {
                "this upload may have been kept, so send it again with the same Idempotency-Key, or see GET /submissions: "
            }
        }
    }
}

/// An error. Some have further fields.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// What happened and what to do, in one sentence for people.
    #[schema(example = "there is no such job")]
    detail: &'a str,
    /// What happened, in one word for programs. There may be new ones.
    #[schema(example = "not_found")]
    code: &'a str,
    /// The `x-request-id` of the answer. The server's log has more under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Error {
    /// The same error with what is kept of the upload that it ended. An error that says so already stays.
    pub(crate) fn of_upload(self, kept: Kept) -> Self {
        match self {
            Self::Upload(..) => self,
            error => Self::Upload(kept, Box::new(error)),
        }
    }

    /// The status, the word for programs, and the sentence for people.
    fn answer(&self) -> (StatusCode, &'static str, &str) {
        match self {
            // Its sentence says more.
            Self::Upload(_, error) => error.answer(),
            // These have answers of their own.
            Self::Limited(reached, _) => (StatusCode::TOO_MANY_REQUESTS, reached.code(), "a limit was reached"),
            Self::TooManyStreams(_) => (StatusCode::TOO_MANY_REQUESTS, "streams", "a limit was reached"),
            Self::Invalid(why) => (StatusCode::BAD_REQUEST, "invalid", why),
            Self::Unauthenticated(why) | Self::Guessing(why) => (StatusCode::UNAUTHORIZED, "unauthenticated", why),
            Self::ProviderAway(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "provider_unavailable",
                "the OpenID provider does not answer, so the token can't be verified at the moment; try again shortly",
            ),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", why),
            Self::Unknown(what) => (StatusCode::NOT_FOUND, "not_found", what),
            Self::Method(why) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", why),
            Self::Stalled => (
                StatusCode::REQUEST_TIMEOUT,
                "stalled",
                "the request's body stopped coming: less than 4 KiB came in 30 s",
            ),
            Self::Conflict(why) => (StatusCode::CONFLICT, "conflict", why),
            Self::TooLarge(why) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", why),
            Self::TargetTooLong(why) => (StatusCode::URI_TOO_LONG, "uri_too_long", why),
            Self::MediaType(why) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", why),
            Self::Busy(why) => (StatusCode::SERVICE_UNAVAILABLE, "busy", why),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "the server has too little memory left to answer this; try again shortly",
            ),
            Self::Draining => {
                (StatusCode::SERVICE_UNAVAILABLE, "draining", "this server is stopping; try again shortly")
            }
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Redis does not answer at the moment; try again shortly",
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "full",
                "Redis is at its memory limit and takes nothing new in; try again later",
            ),
            Self::Storage(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_unavailable",
                "storage can't be used at the moment; try again shortly",
            ),
            Self::StorageFull(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_full",
                "less than 5 % of the disk is free: uploads are refused until there is room; jobs go on",
            ),
            Self::Unreadable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unreadable",
                "what is stored of this can't be read; an administrator can restore it from the event log with \
                 `leadersboard projections rebuild`",
            ),
            Self::Internal(_) | Self::Panicked => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "something is broken here; the server's log has it under this answer's request_id",
            ),
        }
    }

    /// Says once, within the request's span, what the answer does not tell.
    fn log(&self) {
        match self {
            Self::Internal(why) => tracing::error!(error = why, "a request failed"),
            Self::Unreadable(why) => tracing::error!(error = why, "a stored record can't be read"),
            Self::Unavailable(why) => tracing::warn!(error = why, "Redis can't be used"),
            // Its adapter warns once: anybody could make this happen again and again.
            Self::ProviderAway(why) => tracing::debug!(error = why, "the OpenID provider can't be used"),
            Self::Storage(why) => tracing::error!(error = why, "storage failed"),
            Self::Full => tracing::warn!("Redis is at its memory limit"),
            Self::StorageFull(Room { free_bytes, total_bytes }) => {
                tracing::warn!(free_bytes, total_bytes, "an upload was refused: the disk is nearly full");
            }
            Self::Upload(_, error) => error.log(),
            Self::Invalid(_)
            | Self::Unauthenticated(_)
            | Self::Guessing(_)
            | Self::Forbidden(_)
            | Self::Unknown(_)
            | Self::Method(_)
            | Self::Stalled
            | Self::Conflict(_)
            | Self::Limited(..)
            | Self::TooManyStreams(_)
            | Self::TooLarge(_)
            | Self::TargetTooLong(_)
            | Self::Busy(_)
            | Self::Overloaded
            | Self::Draining
            | Self::Panicked
            | Self::MediaType(_) => {}
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let (kept, error) = match self {
            Self::Upload(kept, error) => (kept.sentence(), *error),
            error => ("", error),
        };
        let limited = match &error {
            Self::Limited(reached, jobs) => Some((reached.retry_after().as_secs(), LimitedBody::of(reached, jobs))),
            Self::TooManyStreams(most) => Some((STREAMS_RETRY_AFTER.as_secs(), LimitedBody::of_streams(*most))),
            _ => None,
        };
        if let Some((after, mut body)) = limited {
            body.detail.insert_str(0, kept);
            let after = [(RETRY_AFTER, after.max(1).to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, after, json(&body)).into_response();
        }
        let (status, code, detail) = error.answer();
        let detail = &format!("{kept}{detail}");
        let id = RequestId::current_text();
        let mut response = (status, json(&ErrorBody { detail, code, request_id: id.as_deref() })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let is_for_long = matches!(error, Self::StorageFull(_) | Self::Unreadable(_));
            let after = if is_for_long { RETRY_AFTER_ROOM_S } else { RETRY_AFTER_S };
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if matches!(error, Self::Guessing(_)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn json(body: &impl Serialize) -> Response {
    json_text(serde_json::to_vec(body).expect("texts and numbers always serialise")).into_response()
}

impl From<LimitReached> for Error {
    fn from(reached: LimitReached) -> Self {
        Self::Limited(reached, vec![])
    }
}

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable(why) => Self::Unavailable(format!("{why:#}")),
            PortError::Corrupt(what) => Self::Unreadable(format!("{what:#}")),
        }
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Refused(why) => Self::Invalid(why),
            StorageError::Missing(_) => Self::Internal(chain(&error)),
            StorageError::Away(_) | StorageError::Io { .. } => Self::Storage(chain(&error)),
        }
    }
}

impl<R: Into<Error>> From<ExecuteError<R>> for Error {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Rejected(rejection) => rejection.into(),
            // Somebody used the idempotency key meanwhile. The caller of this looks up that answer.
            ExecuteError::GuardFailed(_) => Self::Conflict("another request was faster; ask again".to_owned()),
            ExecuteError::Full => Self::Full,
            ExecuteError::Unavailable(why) => Self::Unavailable(format!("{why:#}")),
            ExecuteError::TooLarge(bytes) => Self::Internal(format!("the commit is too large: {bytes} bytes")),
            ExecuteError::Defect(what) => Self::Internal(format!("{what:#}")),
        }
    }
}

impl From<job::Rejection> for Error {
    fn from(rejection: job::Rejection) -> Self {
        use job::Rejection as R;
        let sentence = rejection.to_string();
        match rejection {
            R::Unknown | R::SubmissionGone(_) => Self::Unknown(sentence),
            R::UnknownClass(_) => Self::Invalid(sentence),
            R::Limit(reached) => reached.into(),
            R::IdTaken
            | R::Ended(_)
            | R::NotStartable
            | R::FenceLost
            | R::NotEnded
            | R::NothingToTrack
            | R::NotReplayable(_)
            | R::NoSlot => Self::Conflict(sentence),
        }
    }
}

impl From<submission::Rejection> for Error {
    fn from(rejection: submission::Rejection) -> Self {
        let sentence = rejection.to_string();
        match rejection {
            submission::Rejection::Unknown => Self::Unknown(sentence),
            submission::Rejection::IdTaken | submission::Rejection::InUse => Self::Conflict(sentence),
            submission::Rejection::Limit(reached) => reached.into(),
        }
    }
}

/// An error and all its sources, as one line for the log.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    for source in sources(error).skip(1) {
        let source = source.to_string();
        // Many errors repeat their source's text in their own.
        if !line.ends_with(&source) {
            line = format!("{line}: {source}");
        }
    }
    line
}

/// The error of type `E` among an error and its sources.
pub(crate) fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    sources(error).find_map(|error| error.downcast_ref())
}

fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The answer to an unknown path.
pub(crate) async fn no_such_route(uri: Uri) -> Error {
    Error::Unknown(format!("there is nothing at {}", uri.path()))
}

/// The answer to a method that the path does not support.
pub(crate) async fn no_such_method(method: Method) -> Error {
    Error::Method(format!("this path does not accept {method}; the header Allow lists its methods"))
}
