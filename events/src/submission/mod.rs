//! A submission: one upload of code and configuration, run by any number of jobs.

use serde::{Deserialize, Serialize};

use crate::guard::{Guard, Lane};
use crate::id::{SubmissionId, UserId};
use crate::idempotency::Idempotency;
use crate::log::envelope::Envelope;
use crate::policy::Limits;
use crate::quota::{LimitReached, Usage, admit_upload};
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
    /// By what a repeated request is known, where its client gave a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
    /// How its archives are read, if that is not as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<ArchiveReading>,
}

/// How an archive is read. It is chosen once, at the upload, so that no worker can choose otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveReading {
    /// The archive's file name.
    pub archive: String,
    /// The folder of the archive whose content is unpacked at the root of the work directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The encoding of names that are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

/// One thing that can be asked of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmissionCommand {
    /// Take it in; its files are stored already.
    Create(Manifest),
    /// Remove it, if it has no jobs.
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
    /// It still has jobs.
    #[error("the submission still has jobs")]
    InUse,
    /// A limit of its user's was reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

/// What a decision may know beside the state and the command.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Redis's time when the state was read.
    pub now: Timestamp,
    /// What its user may have in use.
    pub limits: &'a Limits,
    /// What its user has in use.
    pub usage: &'a Usage,
}

/// What a command leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one a command, and it is taken apart at once")]
pub enum Decision {
    /// This event, if these guards hold.
    Happens {
        /// What happens.
        event: SubmissionEvent,
        /// What it depends on.
        guards: Vec<Guard>,
        /// Whether a full Redis may refuse it.
        lane: Lane,
    },
    /// It took effect before: a success with nothing to write.
    AlreadyApplied,
}

/// Decides a command on a submission.
///
/// # Errors
/// A typed refusal; nothing is written then.
pub fn decide(
    id: SubmissionId,
    submission: Option<&Submission>,
    command: &SubmissionCommand,
    context: &Context<'_>,
) -> Result<Decision, Rejection> {
    match (submission, command) {
        (None, SubmissionCommand::Create(manifest)) => create(manifest, context),
        (Some(there), SubmissionCommand::Create(manifest)) if there.manifest == *manifest => {
            Ok(Decision::AlreadyApplied)
        }
        (Some(_), SubmissionCommand::Create(_)) => Err(Rejection::IdTaken),
        (Some(_), SubmissionCommand::Expire) => {
            let guards = vec![Guard::WithoutJobs(id)];
            Ok(Decision::Happens { event: SubmissionEvent::Expired {}, guards, lane: Lane::Progress })
        }
        (None, SubmissionCommand::Expire) => Err(Rejection::Unknown),
    }
}

fn create(manifest: &Manifest, context: &Context<'_>) -> Result<Decision, Rejection> {
    let Manifest { user, bytes, idempotency, .. } = manifest;
    let mut guards: Vec<Guard> = idempotency.iter().map(|key| key.unused_by(user)).collect();
    guards.extend(admit_upload(user, context.usage, context.limits, *bytes, context.now)?);
    Ok(Decision::Happens { event: SubmissionEvent::Created(manifest.clone()), guards, lane: Lane::Admission })
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
    use crate::log::envelope::Actor;

    fn manifest(user: &str) -> Manifest {
        Manifest {
            user: user.parse().unwrap(),
            entrypoint: "main.py".to_owned(),
            config_file: "config.yaml".to_owned(),
            files: 2,
            bytes: 100,
            digest: String::new(),
            idempotency: None,
            archives: Vec::new(),
        }
    }

    fn id() -> SubmissionId {
        "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap()
    }

    fn decided(there: Option<&Submission>, command: &SubmissionCommand, usage: &Usage) -> Result<Decision, Rejection> {
        let context = Context { now: Timestamp::default(), limits: &Limits::default(), usage };
        decide(id(), there, command, &context)
    }

    fn after(events: &[SubmissionEvent]) -> Option<Submission> {
        events.iter().zip(1..).fold(None, |state, (event, seq)| {
            let actor = Actor::System("test".to_owned());
            evolve(id(), state, &Envelope { seq, at: Timestamp::default(), actor, trace: None, event: event.clone() })
        })
    }

    #[test]
    fn it_is_created_once_and_a_repeated_upload_of_the_same_is_no_news() {
        let create = SubmissionCommand::Create(manifest("alice"));
        let created = SubmissionEvent::Created(manifest("alice"));
        let usage = Usage::default();
        let Ok(Decision::Happens { event, lane, .. }) = decided(None, &create, &usage) else { panic!("refused") };
        assert_eq!((&event, lane), (&created, Lane::Admission));
        let there = after(&[created]);
        assert_eq!(decided(there.as_ref(), &create, &usage), Ok(Decision::AlreadyApplied));
        let other = SubmissionCommand::Create(manifest("bob"));
        assert_eq!(decided(there.as_ref(), &other, &usage), Err(Rejection::IdTaken));
    }

    #[test]
    fn it_is_guarded_by_what_its_user_may_upload_and_store() {
        let limits = Limits::default();
        let user = || -> UserId { "alice".parse().unwrap() };
        let key = Idempotency { key_sha256: "k".to_owned(), body_sha256: "b".to_owned() };
        let create = SubmissionCommand::Create(Manifest { idempotency: Some(key), ..manifest("alice") });
        let Ok(Decision::Happens { guards, .. }) = decided(None, &create, &Usage::default()) else { panic!("refused") };
        let since = crate::quota::window_start(Timestamp::default());
        let expected = [
            Guard::IdempotencyKeyUnused { user: user(), key_sha256: "k".to_owned() },
            Guard::UploadsBelow { user: user(), since, limit: limits.uploads_per_hour },
            Guard::StoredAtMost { user: user(), bytes: limits.stored_bytes - 100 },
        ];
        assert_eq!(guards, expected);
        let full = Usage { stored_bytes: limits.stored_bytes - 99, ..Usage::default() };
        let limit = LimitReached::StoredBytes { limit: limits.stored_bytes, stored: full.stored_bytes };
        assert_eq!(decided(None, &create, &full), Err(Rejection::Limit(limit)));
        let mut busy = Usage::default();
        busy.hour.uploads = limits.uploads_per_hour;
        assert!(matches!(decided(None, &create, &busy), Err(Rejection::Limit(LimitReached::UploadsPerHour { .. }))));
    }

    #[test]
    fn an_expired_one_is_unknown_and_only_one_without_jobs_expires() {
        let there = after(&[SubmissionEvent::Created(manifest("alice"))]);
        let expire = decided(there.as_ref(), &SubmissionCommand::Expire, &Usage::default());
        let Ok(Decision::Happens { guards, .. }) = expire else { panic!("refused") };
        assert_eq!(guards, [Guard::WithoutJobs(id())]);
        let gone = after(&[SubmissionEvent::Created(manifest("alice")), SubmissionEvent::Expired {}]);
        assert_eq!(gone, None);
        let again = decided(gone.as_ref(), &SubmissionCommand::Expire, &Usage::default());
        assert_eq!(again, Err(Rejection::Unknown));
    }
}
