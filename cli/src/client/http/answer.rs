//! Waiting for an answer, and what to say if none comes.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::Url;
use rustls::CertificateError;
use tokio::time::timeout;

use super::address::is_loopback;
use super::error::ClientError;
use crate::client::output::human;

/// The timeout of one small request, and of each silence in a long answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits at most [`ANSWER_TIMEOUT`] for the next part of an answer of the server at `base`.
pub(super) async fn within_timeout<T>(
    base: &str,
    part: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, ClientError> {
    match timeout(ANSWER_TIMEOUT, part).await {
        Ok(part) => part.map_err(|error| no_answer(base, &error)),
        Err(_) => Err(silent(base, ANSWER_TIMEOUT, "did not answer")),
    }
}

/// The error for a request that failed before its answer was complete.
pub(super) fn no_answer(base: &str, error: &reqwest::Error) -> ClientError {
    let told = in_words(error);
    let cause = told.map_or_else(|| root_cause(error), str::to_owned);
    let sentence = if error.is_connect() {
        let local = Url::parse(base).is_ok_and(|url| is_loopback(&url));
        let advice = if is_about_certificate(error) {
            " If you know the server's certificate or its authority, name its file with --ca-file."
        } else if local {
            " Is `leadersboard up` running?"
        } else {
            ""
        };
        format!("no connection to {base}: {cause}.{advice}")
    } else if error.is_timeout() {
        return silent(base, ANSWER_TIMEOUT, "did not answer");
    } else {
        format!("the connection to {base} broke: {cause}.")
    };
    ClientError::Away { sentence, retry_after: None }
}

/// The error for a server that is connected and says nothing; `what` it did not do.
pub(super) fn silent(base: &str, time: Duration, what: &str) -> ClientError {
    let sentence = format!("{base} {what} within {}.", human::duration(time));
    ClientError::Away { sentence, retry_after: None }
}

/// Whether the server showed a certificate that is not accepted.
fn is_about_certificate(error: &reqwest::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// What the TLS library says, in words for people; `None` if its own are good enough.
fn in_words(error: &reqwest::Error) -> Option<&'static str> {
    match tls_error(error)? {
        rustls::Error::InvalidMessage(_) => Some("the server does not speak TLS: write http://"),
        rustls::Error::InvalidCertificate(why)
            if *why == CertificateError::UnknownIssuer || why.to_string().contains("CaUsedAsEndEntity") =>
        {
            Some("its certificate is signed by itself, or by an authority that is not known here")
        }
        _ => None,
    }
}

/// The error of the TLS library among the causes.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut causes = std::iter::successors(error.source(), |&error| {
        // An I/O error passes over its content when it is asked for its source.
        let content = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        content.map(|content| content as &(dyn Error + 'static)).or_else(|| error.source())
    });
    causes.find_map(<dyn Error>::downcast_ref)
}

/// The innermost source of an error: reqwest's own text repeats the URL and hides the reason.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
