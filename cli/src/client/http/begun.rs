//! What a command has begun that can outlive it, and what Ctrl-C says about it.

/// What a command has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begun {
    Nothing,
    /// The upload has started.
    Upload,
    /// The submission exists; no job was requested.
    Submission(String),
    /// A job of this submission was requested; there is no answer yet.
    Request(String),
    /// The job exists.
    Job(String),
}

impl Begun {
    /// What Ctrl-C left behind, and what to do about it. `None` if it left nothing.
    pub(super) fn after_interrupt(&self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Upload => Some("interrupted: no job was started".to_owned()),
            Self::Submission(id) => Some(format!(
                "interrupted: no job was started. The files are there: leadersboard submit --submission {id}"
            )),
            Self::Request(id) => Some(format!(
                "interrupted before the server answered: a job of submission {id} may have been started. \
                 See: leadersboard jobs list"
            )),
            Self::Job(id) => {
                Some(format!("the job goes on: leadersboard jobs show {id} (end it: leadersboard jobs cancel {id})"))
            }
        }
    }
}
