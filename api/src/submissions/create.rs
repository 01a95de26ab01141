//! Creating a submission: receive, check, publish, commit. A failure on the way leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use events::execute::{self, ExecuteError, Origin};
use events::policy::LivePolicy;
use events::ports::{
    ArchiveLimits, EventLogPort, Ids, Loaded, StagedFile, StagedUpload, StoragePort, UploadInFlight, UploadLimits,
};
use events::quota::admit_upload;
use events::submission::{ArchiveReading, Manifest};
use events::{AggregateId, Idempotency, SubmissionCommand, SubmissionId, UserId, json};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::Instrument;
use utoipa::ToSchema;

use super::form::{self, Form};
use super::place::{Announced, Place, Places};
use super::tree::Tree;
use crate::answer::error::{Error, Kept, chain};
use crate::answer::json_answer::Json;
use crate::http::trace::current_traceparent;
use crate::openapi::errors::UploadError;
use crate::openapi::texts::{FileContent, Id, UserName};
use crate::request::auth::Caller;
use crate::request::extract::media_type;
use crate::request::idempotency::{IdempotencyKeys, Key, KeyHeader};

/// The most bytes of a form beside the content of its files: names, headers, texts.
const FORM_OVERHEAD_BYTES: u64 = 1 << 20;

/// Takes uploads.
pub(crate) struct Uploads {
    pub(crate) storage: Arc<dyn StoragePort>,
    pub(crate) places: Arc<Places>,
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) policy: Arc<LivePolicy>,
    pub(crate) keys: Arc<IdempotencyKeys>,
    pub(crate) upload_limits: UploadLimits,
    pub(crate) archive_limits: ArchiveLimits,
}

/// A form with the files of a submission.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `form` reads")]
pub(crate) struct NewSubmission {
    /// Code, a config, and archives: `.py`, `.yaml`, `.zip` and `.tar.gz`, each with its name. A file has at most 100 MiB
    /// (`MAX_FILE_SIZE`), all have at most 500 MiB.
    #[schema(value_type = Vec<FileContent>, min_items = 1, max_items = 200)]
    files: Vec<Vec<u8>>,
    /// The program, as a path among the files or in an archive.
    #[schema(default = "main.py", max_length = 512, pattern = "\\.py$")]
    entrypoint: Option<String>,
    /// Its config, as a path among the files or in an archive.
    #[schema(default = "config.yaml", max_length = 512, pattern = "\\.ya?ml$")]
    config_file: Option<String>,
    /// A JSON object of your own, at most 64 KiB. The server stores it in `metadata.json`. An empty text counts as `{}`.
    #[schema(default = "{}", max_length = 65_536)]
    metadata: Option<String>,
}

/// A submission that was created.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedSubmission)]
pub(crate) struct Created {
    #[schema(value_type = Id)]
    submission_id: String,
    #[schema(value_type = UserName)]
    user_id: String,
    /// Changes to the archives that the client may not expect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Uploads a submission.
///
/// The server reads all files, also those in archives, before it answers. It keeps nothing of a refused upload.
#[utoipa::path(
    post,
    path = "/submissions",
    operation_id = "create_submission",
    tag = "Submissions",
    params(KeyHeader),
    request_body(content = NewSubmission, content_type = "multipart/form-data"),
    responses((status = 201, description = "The submission is stored.", body = Created), UploadError),
)]
pub(crate) async fn create(
    State(uploads): State<Arc<Uploads>>,
    caller: Caller,
    key: Key,
    request: Request,
) -> Result<(StatusCode, Json<Created>), Error> {
    let announced = check_head(&request, &uploads.upload_limits)?;
    uploads.check_disk().await?;
    let _lock = uploads.keys.lock(&caller, &key).await;
    // A client should hear of a reached limit before the upload, not after it.
    uploads.check_room(&caller, &key, announced.at_least).await?;
    let id = uploads.ids.submission();
    tracing::Span::current().record("submission", tracing::field::display(id));
    let in_flight = UploadInFlight { user: caller.user.clone(), submission: id, key_sha256: key.sha256() };
    let mut place = Place::take(&uploads.places, &caller, &key, in_flight, announced).await?;
    let received = match uploads.receive(id, request, &mut place).await {
        Ok(received) => received,
        Err(refusal) => {
            place.release().await;
            return Err(refusal.of_upload(Kept::Nothing));
        }
    };
    uploads.create(&caller, &key, id, received, place).await
}

/// An upload whose content is staged and checked.
struct Received {
    upload: Box<dyn StagedUpload>,
    form: Form,
    readings: Vec<ArchiveReading>,
    warnings: Vec<String>,
}

impl Uploads {
    /// Stages what the client sends, and checks it whole. Nothing stays of it if it is refused.
    async fn receive(&self, id: SubmissionId, request: Request, place: &mut Place) -> Result<Received, Error> {
        let mut upload = self.storage.stage(id).await?;
        let form = form::receive(request, &mut *upload, place, &self.upload_limits).await?;
        let tree = Tree::of(&form.files, &mut *upload, &self.archive_limits, &form.entrypoint).await?;
        tree.must_hold("entrypoint", &form.entrypoint, ".py")?;
        tree.must_hold("config_file", &form.config_file, ".yaml")?;
        let (readings, warnings) = tree.into_readings();
        Ok(Received { upload, form, readings, warnings })
    }

    /// Makes a submission of what was received, or finds the one that an earlier request made of it.
    async fn create(
        self: &Arc<Self>,
        caller: &Caller,
        key: &Key,
        id: SubmissionId,
        Received { upload, form, readings, warnings }: Received,
        place: Place,
    ) -> Result<(StatusCode, Json<Created>), Error> {
        let nothing_kept = |refusal: Error| refusal.of_upload(Kept::Nothing);
        let idempotency = key.with_fingerprint(&content(&form).map_err(nothing_kept)?);
        let created = |id: SubmissionId| {
            let (submission_id, user_id) = (id.to_string(), caller.user.to_string());
            (StatusCode::CREATED, Json(Created { submission_id, user_id, warnings }))
        };
        let made_before = async || match self.keys.made_before(caller, idempotency.as_ref()).await? {
            Some(AggregateId::Submission(earlier)) => Ok(Some(earlier)),
            _ => Ok(None),
        };
        if let Some(earlier) = made_before().await.map_err(nothing_kept)? {
            return Ok(created(earlier));
        }
        let (metadata, mut manifest) = describe(form, &caller.user, idempotency.clone()).map_err(nothing_kept)?;
        manifest.archives = readings;
        let origin = Origin { actor: caller.actor(), trace: current_traceparent() };
        // A task of its own: a client that hangs up between the two steps does not leave the first without the second.
        let settling = Arc::clone(self);
        let settled = async move {
            let settled = settling.settle(&origin, id, upload, metadata, manifest).await;
            place.release().await;
            settled
        };
        match tokio::spawn(settled.in_current_span()).await.map_err(|error| Error::Internal(chain(&error)))? {
            Ok(()) => Ok(created(id)),
            // Another process may have been faster with the same key. Then its submission may have used up the limit.
            Err(refusal) => match made_before().await {
                Ok(Some(earlier)) => Ok(created(earlier)),
                Ok(None) | Err(_) => Err(refusal),
            },
        }
    }

    /// Refuses uploads while the disk is nearly full: running jobs need the rest.
    async fn check_disk(&self) -> Result<(), Error> {
        let room = self.storage.room().await?;
        if room.is_scarce() { Err(Error::StorageFull(room)) } else { Ok(()) }
    }

    /// Refuses an upload of at least this many bytes that would exceed a limit, unless it may repeat an earlier request.
    async fn check_room(&self, caller: &Caller, key: &Key, at_least: u64) -> Result<(), Error> {
        let limits = self.policy.get().limits;
        let usage = self.log.load_usage(&caller.user, &limits).await?.usage;
        match admit_upload(&caller.user, &usage, &limits, at_least, usage.at) {
            Err(_) if self.keys.was_used(caller, key).await? => Ok(()),
            admitted => admitted.map(drop).map_err(Error::from),
        }
    }

    /// Publishes the files, then commits the event; removes the files again if the event is not there in the end.
    async fn settle(
        &self,
        origin: &Origin,
        id: SubmissionId,
        upload: Box<dyn StagedUpload>,
        metadata: Bytes,
        manifest: Manifest,
    ) -> Result<(), Error> {
        upload.publish(metadata).await.map_err(|error| Error::from(error).of_upload(Kept::Nothing))?;
        let create = SubmissionCommand::Create(manifest);
        let Err(refusal) = execute::submission(&*self.log, &self.policy.get(), origin, id, &create).await else {
            return Ok(());
        };
        // The answer may have been lost after the commit was made. Where even that can't be asked, the files stay: if there
        // is no record of them, they are swept later.
        match self.log.load_submission(id).await {
            Ok(Loaded { state: Some(_), .. }) => return Ok(()),
            Err(_) if matches!(refusal, ExecuteError::Unavailable(_)) => {
                return Err(Error::from(refusal).of_upload(Kept::Perhaps));
            }
            Ok(Loaded { state: None, .. }) | Err(_) => {}
        }
        if let Err(error) = self.storage.delete(id).await {
            tracing::error!(error = chain(&error), "the files of a refused submission are left behind");
        }
        Err(Error::from(refusal).of_upload(Kept::Nothing))
    }
}

/// The content of a request, in whatever order the form has it.
fn content(form: &Form) -> Result<Value, Error> {
    let metadata = json::read_object(&form.metadata).map_err(|error| Error::Internal(chain(&error)))?;
    let mut files: Vec<_> = form.files.iter().collect();
    files.sort_by_key(|file| &file.name);
    Ok(json!({
        "call": "POST /submissions",
        "entrypoint": form.entrypoint.as_str(),
        "config_file": form.config_file.as_str(),
        "metadata": metadata,
        "files": files.into_iter().map(describe_file).collect::<Vec<_>>(),
    }))
}

fn describe_file(file: &StagedFile) -> Value {
    json!({ "name": file.name.as_str(), "size": file.size, "sha256": file.sha256 })
}

/// Refuses a request by its head if possible, and returns how many bytes its files can have.
fn check_head(request: &Request, limits: &UploadLimits) -> Result<Announced, Error> {
    let content_type = media_type(request.headers());
    if content_type != "multipart/form-data" {
        return Err(Error::MediaType(format!("a submission must be multipart/form-data, not {content_type:?}")));
    }
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(bytes) if bytes > limits.total_bytes.saturating_add(FORM_OVERHEAD_BYTES) => Err(Error::TooLarge(format!(
            "the upload has {bytes} bytes; the files of a submission may have at most {} in all",
            limits.total_bytes
        ))),
        Some(bytes) => Ok(Announced { at_least: bytes.saturating_sub(FORM_OVERHEAD_BYTES), at_most: bytes }),
        None => Ok(Announced { at_least: 0, at_most: limits.total_bytes }),
    }
}

/// The content of `metadata.json`, and what the event keeps of it. The client's values stay as they were written; its
/// keys come first, so ours win.
fn describe(form: Form, user: &UserId, idempotency: Option<Idempotency>) -> Result<(Bytes, Manifest), Error> {
    let theirs = json::read_members(&form.metadata).map_err(|error| Error::Internal(chain(&error)))?;
    let mut metadata: BTreeMap<String, String> =
        theirs.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
    for (key, value) in [
        ("user_id", json!(user)),
        ("entrypoint", json!(form.entrypoint.as_str())),
        ("config_file", json!(form.config_file.as_str())),
        ("files", Value::Array(form.files.iter().map(describe_file).collect())),
    ] {
        metadata.insert(key.to_owned(), format!("{value:#}"));
    }
    let members: Vec<String> =
        metadata.iter().map(|(name, text)| format!("{}: {text}", Value::from(name.as_str()))).collect();
    let bytes = format!("{{\n{}\n}}", members.join(",\n")).into_bytes();
    let manifest = Manifest {
        user: user.clone(),
        entrypoint: form.entrypoint.to_string(),
        config_file: form.config_file.to_string(),
        files: form.files.len() as u64,
        bytes: form.files.iter().map(|file| file.size).sum(),
        digest: hex::encode(Sha256::digest(&bytes)),
        idempotency,
        archives: Vec::new(),
    };
    Ok((bytes.into(), manifest))
}
