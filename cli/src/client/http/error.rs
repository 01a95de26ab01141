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
