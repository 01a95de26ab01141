//! What `MLflow`'s answers mean where it did not do what it was asked.

use std::error::Error;

#[cfg(feature = "faults")]
use events::ports::PortError;
use events::ports::TrackingError;
use reqwest::StatusCode;
use serde::Deserialize;

/// As much of what `MLflow` says as a sentence can carry.
const MAX_SAID_CHARS: usize = 300;

/// Why a call did not do what it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// `MLflow` takes nothing at the moment.
    Away(String),
    /// `MLflow` refuses this call.
    Refused {
        /// `MLflow`'s name of the reason; empty where it is ours.
        code: String,
        /// What the matter is.
        sentence: String,
    },
    /// The files that it was about can't be read.
    Files(String),
}

impl CallError {
    /// What `MLflow` holds is not what it was given.
    pub(crate) fn refused(sentence: impl Into<String>) -> Self {
        Self::Refused { code: String::new(), sentence: sentence.into() }
    }

    /// The same, with a name of the reason that is ours.
    pub(crate) fn refused_as(code: &str, sentence: impl Into<String>) -> Self {
        Self::Refused { code: code.to_owned(), sentence: sentence.into() }
    }

    /// Whether this is the reason.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

impl From<CallError> for TrackingError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Away(sentence) => Self::Away(sentence),
            CallError::Refused { sentence, .. } => Self::Refused(sentence),
            CallError::Files(sentence) => Self::Files(sentence),
        }
    }
}

/// What a failpoint does.
#[cfg(feature = "faults")]
impl From<PortError> for CallError {
    fn from(error: PortError) -> Self {
        match error {
            PortError::Unavailable(what) => Self::Away(what.to_string()),
            PortError::Corrupt(what) => Self::refused(what.to_string()),
        }
    }
}

/// There is no answer, or not all of it.
pub(crate) fn unanswered(call: &str, error: &reqwest::Error) -> CallError {
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(error) };
    CallError::Away(format!("MLflow did not answer {call}: {why}."))
}

/// The cause behind all others: those before it only say that a request failed, and for which address.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    said(&cause.to_string())
}

#[derive(Deserialize)]
struct Refusal {
    error_code: Option<String>,
    message: Option<String>,
}

/// The code of a request that is too large, from the server or a proxy.
pub(crate) const TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";

/// The code of a file that is not what was kept any more; ours.
pub(crate) const CHANGED: &str = "leadersboard.CHANGED";
/// The code of an answer that is larger than is read; ours.
pub(crate) const OVERSIZE: &str = "leadersboard.OVERSIZE";

/// The answer is not the one that was hoped for.
pub(crate) fn refusal(call: &str, status: StatusCode, body: &[u8]) -> CallError {
    let refusal: Option<Refusal> = serde_json::from_slice(body).ok();
    let is_json = refusal.is_some();
    let (code, message) = refusal.map_or((None, None), |refusal| (refusal.error_code, refusal.message));
    let told = said(&message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()));
    let with = |cure: &str| {
        let told = if told.is_empty() { String::new() } else { format!(" It says: {told}") };
        CallError::Away(format!("MLflow answered {status} to {call}: {cure}{told}"))
    };
    match status {
        StatusCode::UNAUTHORIZED => with(
            "it wants other credentials; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or \
             MLFLOW_TRACKING_TOKEN.",
        ),
        StatusCode::FORBIDDEN if !is_json => with(
            "it does not know itself by the host name in MLFLOW_TRACKING_URI, or something before it lets nobody \
             through; start it with --allowed-hosts and that name.",
        ),
        StatusCode::FORBIDDEN => with("the account in MLFLOW_TRACKING_USERNAME may not do this; give it the right to."),
        status if status.is_redirection() => {
            with("it is elsewhere; MLFLOW_TRACKING_URI has to be the address that it answers at itself.")
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if code.is_none() => {
            with("MLFLOW_TRACKING_URI is not the address of an MLflow server.")
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => with("it has too much to do."),
        status if status.is_server_error() => with("it is out of order."),
        StatusCode::PAYLOAD_TOO_LARGE => CallError::Refused {
            code: TOO_LARGE.to_owned(),
            sentence: format!("MLflow, or what stands before it, takes nothing as large as {call}: {told}"),
        },
        status => CallError::Refused {
            code: code.unwrap_or_default(),
            sentence: format!("MLflow refused {call} ({status}): {told}"),
        },
    }
}

/// It says that all is well, and what follows is not what `MLflow` says then.
pub(crate) fn no_answer_of_mlflow(call: &str, body: &[u8]) -> CallError {
    let shown = said(&String::from_utf8_lossy(body));
    CallError::Away(format!("What answered {call} is no MLflow server; is MLFLOW_TRACKING_URI right? It says: {shown}"))
}

/// On one line, and cut.
fn said(text: &str) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.len() > 4 * MAX_SAID_CHARS {
            break;
        }
    }
    match words.char_indices().nth(MAX_SAID_CHARS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> CallError {
        refusal("runs/search", StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn what_says_nothing_about_the_run_means_that_mlflow_is_away() {
        let page = "<html>nginx</html>";
        let json = r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#;
        for (status, body, cure) in [
            (401, "You are not authenticated.", "MLFLOW_TRACKING_USERNAME"),
            (403, "Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
            (403, json, "may not do this"),
            (404, page, "MLFLOW_TRACKING_URI"),
            (301, "", "MLFLOW_TRACKING_URI"),
            (429, json, "too much to do"),
            (500, page, "out of order"),
            (503, "", "out of order"),
        ] {
            let CallError::Away(sentence) = answer(status, body) else { panic!("{status} {body}") };
            assert!(sentence.contains(cure) && sentence.contains("runs/search"), "{sentence}");
        }
        assert!(matches!(no_answer_of_mlflow("x", b"<html>"), CallError::Away(said) if said.contains("<html>")));
    }

    #[test]
    fn what_mlflow_says_about_the_run_is_told_with_its_code_and_cut() {
        let body = format!(r#"{{"error_code": "INVALID_PARAMETER_VALUE", "message": "bad\n{}"}}"#, "x".repeat(1000));
        let refused = answer(400, &body);
        assert!(refused.is("INVALID_PARAMETER_VALUE") && !refused.is(""));
        let TrackingError::Refused(sentence) = refused.into() else { panic!() };
        assert!(sentence.contains("runs/search") && sentence.contains("bad xxx"), "{sentence}");
        assert!(sentence.chars().count() < 400);
        let page = "<html>413</html>";
        assert!(matches!(answer(413, page), CallError::Refused { sentence, .. } if sentence.contains(page)));
        let gone = answer(404, r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No"}"#);
        assert!(gone.is("RESOURCE_DOES_NOT_EXIST"));
    }
}
