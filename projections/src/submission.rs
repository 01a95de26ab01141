//! The read model of submissions.

use std::collections::{BTreeMap, HashMap};

use events::submission::{Manifest, evolve};
use events::{Envelope, Submission, SubmissionEvent, SubmissionId};

use crate::fields::{Fields, Unreadable, VERSION, store_time};
use crate::patch::{Patch, View, diff};
use crate::{Keyspace, Projector};

/// A submission as Redis keys: its hash, and its place in the newest-first indexes.
#[must_use]
pub fn view(keys: &Keyspace, submission: &Submission) -> View {
    let Manifest { user, entrypoint, config_file, files, bytes, digest } = &submission.manifest;
    let created = Some(submission.created_at.timestamp_millis());
    View {
        key: keys.submission(submission.id),
        fields: BTreeMap::from([
            (VERSION, submission.version.to_string()),
            ("created_at", store_time(submission.created_at)),
            ("user", user.to_string()),
            ("entrypoint", entrypoint.clone()),
            ("config_file", config_file.clone()),
            ("files", files.to_string()),
            ("bytes", bytes.to_string()),
            ("digest", digest.clone()),
        ]),
        memberships: BTreeMap::from([(keys.submissions(), created), (keys.user_submissions(user), created)]),
        member: submission.id.to_string(),
        ..View::default()
    }
}

/// Reads a submission back from its hash; none from an empty one.
///
/// # Errors
/// Which field does not hold what [`view`] writes.
pub fn read(key: &str, id: SubmissionId, hash: &HashMap<String, String>) -> Result<Option<Submission>, Unreadable> {
    if hash.is_empty() {
        return Ok(None);
    }
    let fields = Fields::new(key, hash);
    let manifest = Manifest {
        user: fields.get("user")?,
        entrypoint: fields.get("entrypoint")?,
        config_file: fields.get("config_file")?,
        files: fields.get("files")?,
        bytes: fields.get("bytes")?,
        digest: fields.get("digest")?,
    };
    Ok(Some(Submission { id, version: fields.get(VERSION)?, created_at: fields.time("created_at")?, manifest }))
}

/// What new events of a submission do to the read models.
#[must_use]
pub fn project(
    projector: &Projector,
    id: SubmissionId,
    before: Option<&Submission>,
    events: &[Envelope<SubmissionEvent>],
) -> Vec<Patch> {
    let after = events.iter().fold(before.cloned(), |state, event| evolve(id, state, event));
    let view = |submission: &Submission| view(&projector.keys, submission);
    diff(before.map(view).as_ref(), after.as_ref().map(view).as_ref())
}
