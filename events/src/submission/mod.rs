//! A submission: one upload of code and configuration, run by any number of jobs.

use serde::{Deserialize, Serialize};

use crate::commit::Lane;
use crate::envelope::Envelope;
use crate::id::{SubmissionId, UserId};
use crate::time::Timestamp;

/// A submission as the fold of its own events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Its identity.
    pub id: SubmissionId,
    /// How many events it has had.
    pub version: u64,
    /// When it was uploaded.
    pub created_at: Timestamp,
    /// What was uploaded.
    pub manifest: Manifest,
}

/// What was uploaded, in short. The list of files is in `metadata.json` beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose it is.
    pub user: UserId,
    /// The program, relative to the work directory.
    pub entrypoint: String,
    /// Its configuration, relative to the work directory.
    pub config_file: String,
    /// How many files were uploaded.
    pub files: u64,
    /// Their size in all.
    pub bytes: u64,
    /// The SHA-256 of `metadata.json`, which holds that of each file.
    pub digest: String,
}

/// One thing that can be asked of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionCommand {
    /// Take it in; its files are stored already.
    Create(Manifest),
    /// Remove it.
    Expire,
}

/// One thing that happened to a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum SubmissionEvent {
    /// It was taken in.
    #[serde(rename = "submission.created")]
    Created(Manifest),
    /// Its files and records were removed.
    #[serde(rename = "submission.expired")]
    Expired {},
}

impl SubmissionEvent {
    /// The name under which it is stored.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Created(_) => "submission.created",
            Self::Expired {} => "submission.expired",
        }
    }
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such submission.
    #[error("there is no such submission")]
    Unknown,
    /// Another submission has this id.
    #[error("a submission with this id exists already")]
    IdTaken,
}

/// What a command leads to: these events, or nothing because it took effect before.
pub type Decision = Option<(Vec<SubmissionEvent>, Lane)>;

/// Decides a command on a submission.
///
/// # Errors
/// A typed refusal; nothing is written then.
pub fn decide(submission: Option<&Submission>, command: &SubmissionCommand) -> Result<Decision, Rejection> {
    match (submission, command) {
        (None, SubmissionCommand::Create(manifest)) => {
            Ok(Some((vec![SubmissionEvent::Created(manifest.clone())], Lane::Admission)))
        }
        (Some(there), SubmissionCommand::Create(manifest)) if there.manifest == *manifest => Ok(None),
        (Some(_), SubmissionCommand::Create(_)) => Err(Rejection::IdTaken),
        (Some(_), SubmissionCommand::Expire) => Ok(Some((vec![SubmissionEvent::Expired {}], Lane::Progress))),
        (None, SubmissionCommand::Expire) => Err(Rejection::Unknown),
    }
}

/// Folds one event into the state of submission `id`. Nothing is there before `created` and after `expired`.
#[must_use]
pub fn evolve(
    id: SubmissionId,
    _before: Option<Submission>,
    envelope: &Envelope<SubmissionEvent>,
) -> Option<Submission> {
    match &envelope.event {
        SubmissionEvent::Created(manifest) => {
            Some(Submission { id, version: envelope.seq, created_at: envelope.at, manifest: manifest.clone() })
        }
        SubmissionEvent::Expired {} => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Actor;

    fn manifest(user: &str) -> Manifest {
        Manifest {
            user: user.parse().unwrap(),
            entrypoint: "main.py".to_owned(),
            config_file: "config.yaml".to_owned(),
            files: 2,
            bytes: 100,
            digest: String::new(),
        }
    }

    fn after(events: &[SubmissionEvent]) -> Option<Submission> {
        let id = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap();
        events.iter().zip(1..).fold(None, |state, (event, seq)| {
            let actor = Actor::System("test".to_owned());
            evolve(id, state, &Envelope { seq, at: Timestamp::default(), actor, trace: None, event: event.clone() })
        })
    }

    #[test]
    fn it_is_created_once_and_a_repeated_upload_of_the_same_is_no_news() {
        let create = SubmissionCommand::Create(manifest("alice"));
        let created = SubmissionEvent::Created(manifest("alice"));
        assert_eq!(decide(None, &create), Ok(Some((vec![created.clone()], Lane::Admission))));
        let there = after(&[created]);
        assert_eq!(decide(there.as_ref(), &create), Ok(None));
        let other = SubmissionCommand::Create(manifest("bob"));
        assert_eq!(decide(there.as_ref(), &other), Err(Rejection::IdTaken));
    }

    #[test]
    fn an_expired_one_is_unknown() {
        let gone = after(&[SubmissionEvent::Created(manifest("alice")), SubmissionEvent::Expired {}]);
        assert_eq!(gone, None);
        assert_eq!(decide(gone.as_ref(), &SubmissionCommand::Expire), Err(Rejection::Unknown));
    }
}
