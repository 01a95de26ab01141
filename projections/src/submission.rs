//! The read model of submissions.

use std::collections::{BTreeMap, HashMap};

use events::submission::{ArchiveReading, Manifest, evolve};
use events::{AggregateId, Envelope, Submission, SubmissionEvent, SubmissionId};
use serde_json::json;

use crate::fields::{BYTES, Fields, IDEMPOTENCY, USER, Unreadable, VERSION, store_time};
use crate::patch::{Patch, View, diff};
use crate::{Keyspace, idempotency};

/// How archives are read; there only if that is not as they are.
const ARCHIVES: &str = "archives";

/// A submission as Redis keys: its hash, and its place in the newest-first indexes.
#[must_use]
pub fn view(keys: &Keyspace, submission: &Submission) -> View {
    let Manifest { user, entrypoint, config_file, files, bytes, digest, idempotency, archives } = &submission.manifest;
    let created_at = submission.created_at;
    let created = Some(created_at.timestamp_millis());
    let made = AggregateId::Submission(submission.id);
    let record = |key| idempotency::record(keys, user, key, made, created_at);
    let mut fields = BTreeMap::from([
        (VERSION, submission.version.to_string()),
        ("created_at", store_time(created_at)),
        (USER, user.to_string()),
        ("entrypoint", entrypoint.clone()),
        ("config_file", config_file.clone()),
        ("files", files.to_string()),
        (BYTES, bytes.to_string()),
        ("digest", digest.clone()),
    ]);
    fields.extend(idempotency.iter().map(|key| (IDEMPOTENCY, idempotency::store(key))));
    if !archives.is_empty() {
        fields.insert(ARCHIVES, json!(archives).to_string());
    }
    View {
        key: keys.submission(submission.id),
        fields,
        memberships: BTreeMap::from([(keys.submissions(), created), (keys.user_submissions(user), created)]),
        member: submission.id.to_string(),
        windows: BTreeMap::from([(keys.uploads(user), created_at.timestamp_millis())]),
        records: idempotency.iter().map(record).collect(),
        totals: BTreeMap::from([(keys.user_stored(user), *bytes)]),
        places: BTreeMap::new(),
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
        user: fields.get(USER)?,
        entrypoint: fields.get("entrypoint")?,
        config_file: fields.get("config_file")?,
        files: fields.get("files")?,
        bytes: fields.get(BYTES)?,
        digest: fields.get("digest")?,
        idempotency: idempotency::restore(&fields, IDEMPOTENCY)?,
        archives: archives(&fields)?,
    };
    Ok(Some(Submission { id, version: fields.get(VERSION)?, created_at: fields.time("created_at")?, manifest }))
}

fn archives(fields: &Fields<'_>) -> Result<Vec<ArchiveReading>, Unreadable> {
    let Some(text) = fields.optional::<String>(ARCHIVES)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text)
        .map_err(|error| fields.unreadable(format!("field {ARCHIVES:?}: {}", events::json::problem(&error))))
}

/// What new events of a submission do to the read models.
#[must_use]
pub fn project(
    keys: &Keyspace,
    id: SubmissionId,
    before: Option<&Submission>,
    events: &[Envelope<SubmissionEvent>],
) -> Vec<Patch> {
    let after = events.iter().fold(before.cloned(), |state, event| evolve(id, state, event));
    let view = |submission: &Submission| view(keys, submission);
    diff(before.map(view).as_ref(), after.as_ref().map(view).as_ref())
}
