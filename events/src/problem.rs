//! What went wrong outside the domain, and the error that caused it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A sentence that says what went wrong, and the error that caused it if there is one.
///
/// `{}` shows the sentence, `{:#}` the whole [`chain`]. Two problems are equal if their sentences are.
#[derive(Debug, Clone)]
pub struct Problem {
    sentence: String,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem with the error that caused it. A log shows the text of the error and of its sources, so neither may
    /// hold a secret.
    pub fn caused_by(cause: impl Error + Send + Sync + 'static, sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), cause: Some(Arc::new(cause)) }
    }
}

impl From<String> for Problem {
    fn from(sentence: String) -> Self {
        Self { sentence, cause: None }
    }
}

impl From<&str> for Problem {
    fn from(sentence: &str) -> Self {
        sentence.to_owned().into()
    }
}

impl PartialEq for Problem {
    fn eq(&self, other: &Self) -> bool {
        self.sentence == other.sentence
    }
}

impl Eq for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { f.write_str(&chain(self)) } else { f.write_str(&self.sentence) }
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Returns an error and its sources in one line, for a log. A source is left out if the text before it already ends
/// with it, because many errors repeat their source.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for error in std::iter::successors(Some(error), |&error| error.source()) {
        let text = error.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::ports::PortError;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk failed")]
    struct DiskFailed(#[source] io::Error);

    #[test]
    fn a_log_shows_each_cause_once_and_a_user_sees_the_sentence() {
        let cause = || DiskFailed(io::Error::other("sector 7"));
        let error = PortError::Unavailable(Problem::caused_by(cause(), "the log can't be reached"));
        assert_eq!(error.to_string(), "the log can't be reached");
        assert_eq!(format!("{error:#}"), "the log can't be reached: the disk failed: sector 7");
        let told = PortError::Corrupt(Problem::caused_by(cause(), "no artifacts: the disk failed"));
        assert_eq!(format!("{told:#}"), "no artifacts: the disk failed: sector 7");
        let plain = PortError::Unavailable("stopping".into());
        assert_eq!(format!("{plain:#}"), "stopping");
        assert!(plain.source().is_none() && error.source().is_some_and(<dyn Error>::is::<DiskFailed>));
    }
}
