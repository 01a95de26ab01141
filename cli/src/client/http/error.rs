//! What can go wrong between a user and the server, and the exit code of each.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use super::begun::Begun;

/// Why a command could not be carried out, as one sentence for the user.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The input is wrong; nothing was sent.
    Usage(String),
    /// The server understood and said no.
    Refused { sentence: String },
    /// A limit, by its word for programs: nothing is wrong but the moment.
    Limited { sentence: String, code: String, retry_after: Option<Duration> },
    /// No answer, or "not now": trying again later may help.
    Away { sentence: String, retry_after: Option<Duration> },
    /// Ctrl-C; what was begun may go on without us.
    Interrupted(Begun),
    /// This machine's disk, pipe or terminal failed.
    Local(io::Error),
}

impl ClientError {
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage(sentence.into())
    }

    /// An answer of a form that this version does not know; `what` it describes.
    pub(crate) fn unknown_form(what: &str) -> Self {
        let sentence = format!(
            "the server described {what} in a way that this version ({}) does not know: use the server's own version.",
            env!("CARGO_PKG_VERSION")
        );
        Self::Refused { sentence }
    }

    /// The line for stderr; nothing where a reader of our stdout simply went away.
    pub(crate) fn sentence(&self) -> Option<String> {
        match self {
            Self::Usage(sentence)
            | Self::Refused { sentence }
            | Self::Limited { sentence, .. }
            | Self::Away { sentence, .. } => Some(format!("error: {sentence}")),
            Self::Interrupted(begun) => begun.after_interrupt(),
            Self::Local(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Local(error) => Some(format!("error: {error}")),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) | Self::Refused { .. } | Self::Limited { .. } => 2,
            Self::Interrupted(_) => 130,
            // What a shell shows for a program ended by SIGPIPE.
            Self::Local(error) if error.kind() == io::ErrorKind::BrokenPipe => 141,
            Self::Away { .. } | Self::Local(_) => 3,
        })
    }

    /// The same error with a further sentence, for what the user can still do about it.
    pub(crate) fn with_advice(mut self, advice: &str) -> Self {
        match &mut self {
            Self::Usage(sentence)
            | Self::Refused { sentence }
            | Self::Limited { sentence, .. }
            | Self::Away { sentence, .. } => {
                sentence.push(' ');
                sentence.push_str(advice);
            }
            Self::Interrupted(_) | Self::Local(_) => {}
        }
        self
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(error: &ClientError) -> (Option<String>, String) {
        (error.sentence(), format!("{:?}", error.exit_code()))
    }

    fn code(number: u8) -> String {
        format!("{:?}", ExitCode::from(number))
    }

    #[test]
    fn each_kind_of_error_has_its_exit_code() {
        let text = || "no.".to_owned();
        let limited = ClientError::Limited { sentence: text(), code: "running".to_owned(), retry_after: None };
        for (error, expected) in [
            (ClientError::usage("no."), 2),
            (ClientError::Refused { sentence: text() }, 2),
            (limited, 2),
            (ClientError::Away { sentence: text(), retry_after: None }, 3),
        ] {
            assert_eq!(shown(&error), (Some("error: no.".to_owned()), code(expected)), "{error:?}");
            let advised = error.with_advice("Do this.").sentence();
            assert_eq!(advised.as_deref(), Some("error: no. Do this."));
        }
        let full = ClientError::from(io::Error::other("the disk is full"));
        assert_eq!(shown(&full), (Some("error: the disk is full".to_owned()), code(3)));
    }

    #[test]
    fn a_reader_that_went_away_needs_no_sentence() {
        let gone = ClientError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(shown(&gone), (None, code(141)));
    }

    #[test]
    fn ctrl_c_says_what_goes_on_and_how_to_find_it() {
        let id = || "x1".to_owned();
        for (begun, told) in [
            (Begun::Nothing, None),
            (Begun::Upload, Some("no job was started")),
            (Begun::Submission(id()), Some("leadersboard submit --submission x1")),
            (Begun::Request(id()), Some("a job of submission x1 may have been started. See: leadersboard jobs list")),
            (Begun::Job(id()), Some("leadersboard jobs show x1 (end it: leadersboard jobs cancel x1)")),
        ] {
            let error = ClientError::Interrupted(begun.clone()).with_advice("never added");
            let (sentence, exit) = shown(&error);
            assert_eq!(exit, code(130));
            assert_eq!(sentence.is_some(), told.is_some(), "{begun:?}");
            let sentence = sentence.unwrap_or_default();
            assert!(sentence.contains(told.unwrap_or_default()) && !sentence.contains("never"), "{sentence}");
        }
    }
}
