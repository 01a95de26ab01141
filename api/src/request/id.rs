//! The id of a request: the client's if it is safe to show, else a new one. Logs, errors and the answer name it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use events::ports::Ids;

/// The header in which a client gives the id and gets it back.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken.
const MAX_BYTES: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// At most [`MAX_BYTES`] letters, digits and a few signs: safe in a log line, a shell and a page.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the client's id if there is exactly one and it is safe, else makes one.
    pub(crate) fn of(headers: &HeaderMap, ids: &dyn Ids) -> Self {
        let mut given = headers.get_all(&REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_safe(id.as_bytes()) => Self(id.clone()),
            _ => Self::new(ids),
        }
    }

    /// Makes one.
    pub(crate) fn new(ids: &dyn Ids) -> Self {
        Self(HeaderValue::try_from(ids.request().to_string()).expect("an id is hexadecimal"))
    }

    /// The id of the request that the current task answers.
    pub(crate) fn current_text() -> Option<String> {
        CURRENT.try_with(|id| id.as_str().to_owned()).ok()
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The value of the header.
    pub(crate) fn into_header(self) -> HeaderValue {
        self.0
    }

    /// Lets [`Self::current`] give this id within `answering`.
    pub(crate) async fn within<T>(self, answering: impl Future<Output = T>) -> T {
        CURRENT.scope(self, answering).await
    }
}

fn is_safe(id: &[u8]) -> bool {
    let is_sign = |byte: &u8| b"-_.:/+=@~,".contains(byte);
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || is_sign(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_end_a_line_or_open_a_tag_is_replaced() {
        for safe in ["a", "req-1", "0192f1c3-a4b5:7/c+d=@e~f,g.h_i", &"x".repeat(128)] {
            assert!(is_safe(safe.as_bytes()), "{safe}");
        }
        for unsafe_id in ["", " ", "a b", "a\tb", "a\"b", "a\\n", "<b>", "a;b", "$(x)", "\u{e9}", &"x".repeat(129)] {
            assert!(!is_safe(unsafe_id.as_bytes()), "{unsafe_id}");
        }
    }
}
