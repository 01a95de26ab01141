//! The multipart form of a submission, read once from front to back, its files straight into storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use bytes::{Bytes, BytesMut};
use events::json;
use events::ports::{FileName, StagedFile, StagedUpload, UploadLimits};
use futures::StreamExt;

use super::place::Place;
use crate::answer::error::{Error, cause};
use crate::request::body::Stalled;
use crate::request::path::RelativePath;

/// What a client is told that sends a file as a text.
const NO_FILE_NAME: &str =
    "a part named files has no file name in UTF-8: send it as a file, as curl does with -F files=@main.py";

/// The most bytes of `metadata`, and of any other text.
const MAX_METADATA_BYTES: usize = 64 * 1024;
const MAX_TEXT_BYTES: usize = 1024;

/// The most bytes that may come without being part of any field: a preamble, or a field's headers.
const MAX_BACKLOG_BYTES: usize = 4 << 20;

/// The most bytes that the headers of one field may have.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// A submission as its client described it.
pub(super) struct Form {
    pub(super) entrypoint: RelativePath,
    pub(super) config_file: RelativePath,
    /// A JSON object as it was written.
    pub(super) metadata: String,
    pub(super) files: Vec<StagedFile>,
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    entrypoint: Option<RelativePath>,
    config_file: Option<RelativePath>,
    metadata: Option<String>,
    files: Vec<StagedFile>,
    bytes: u64,
}

/// Reads the form, its fields in whatever order they come, and stages its files.
pub(super) async fn receive(
    request: Request,
    upload: &mut dyn StagedUpload,
    place: &mut Place,
    limits: &UploadLimits,
) -> Result<Form, Error> {
    let backlog = Backlog::default();
    let request = request.map(|body| backlog.watch(body));
    let no_boundary = |_| Error::Invalid("the form's content type names no boundary".to_owned());
    let mut fields = Multipart::from_request(request, &()).await.map_err(no_boundary)?;
    let mut draft = Draft::default();
    while let Some(mut field) = fields.next_field().await.map_err(broken)? {
        backlog.clear();
        check_headers(&field)?;
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "files" => draft.file(&mut field, upload, place, limits, &backlog).await?,
            "entrypoint" => {
                let text = text(&name, &mut field, MAX_TEXT_BYTES).await?;
                let path = RelativePath::parse(&name, &text, ".py").map_err(Error::Invalid)?;
                set_once(&name, &mut draft.entrypoint, path)?;
            }
            "config_file" => {
                let text = text(&name, &mut field, MAX_TEXT_BYTES).await?;
                let yml = limits.suffixes.take(&text) && text.ends_with(".yml");
                let path = RelativePath::parse(&name, &text, if yml { ".yml" } else { ".yaml" });
                let path = path.map_err(Error::Invalid)?;
                set_once(&name, &mut draft.config_file, path)?;
            }
            "metadata" => {
                let text = text(&name, &mut field, MAX_METADATA_BYTES).await?;
                // A page sends an empty field if its user wrote nothing.
                if !text.is_empty() {
                    let refuse = |error| Error::Invalid(format!("the form field metadata {error}"));
                    json::read_distinct(&text).map_err(refuse)?;
                    set_once(&name, &mut draft.metadata, text)?;
                }
            }
            _ => {
                return Err(Error::Invalid(format!(
                    "there is no form field {name:?}; there are files, entrypoint, config_file and metadata"
                )));
            }
        }
        backlog.clear();
    }
    draft.finish()
}

impl Draft {
    async fn file(
        &mut self,
        field: &mut Field<'_>,
        upload: &mut dyn StagedUpload,
        place: &mut Place,
        limits: &UploadLimits,
        backlog: &Backlog,
    ) -> Result<(), Error> {
        let name = field.file_name().ok_or_else(|| Error::Invalid(NO_FILE_NAME.to_owned()))?;
        let name = FileName::parse(name, &limits.suffixes)?;
        let shown = name.as_str();
        if self.files.iter().any(|file| file.name == name) {
            return Err(Error::Invalid(format!("two files are named {shown:?}")));
        }
        if self.files.len() >= limits.files {
            return Err(Error::TooLarge(format!(
                "file {shown:?} is one too many: a submission may have at most {} files",
                limits.files
            )));
        }
        upload.begin(&name).await?;
        let mut size = 0;
        while let Some(chunk) = field.chunk().await.map_err(broken)? {
            backlog.clear();
            size += chunk.len() as u64;
            self.bytes += chunk.len() as u64;
            if size > limits.file_bytes {
                let limit = limits.file_bytes;
                return Err(Error::TooLarge(format!(
                    "file {shown:?} is too large: a file may have at most {limit} bytes"
                )));
            }
            if self.bytes > limits.total_bytes {
                let limit = limits.total_bytes;
                return Err(Error::TooLarge(format!(
                    "file {shown:?} is too much: the files of a submission may have at most {limit} bytes in all"
                )));
            }
            place.count(chunk.len() as u64).await?;
            upload.write(chunk).await?;
        }
        self.files.push(upload.finish().await?);
        Ok(())
    }

    fn finish(self) -> Result<Form, Error> {
        if self.files.is_empty() {
            return Err(Error::Invalid("the form holds no files".to_owned()));
        }
        let or_default = |path: Option<RelativePath>, field, default, ending| match path {
            Some(path) => Ok(path),
            None => RelativePath::parse(field, default, ending).map_err(Error::Internal),
        };
        Ok(Form {
            entrypoint: or_default(self.entrypoint, "entrypoint", "main.py", ".py")?,
            config_file: or_default(self.config_file, "config_file", "config.yaml", ".yaml")?,
            metadata: self.metadata.unwrap_or_else(|| "{}".to_owned()),
            files: self.files,
        })
    }
}

fn check_headers(field: &Field<'_>) -> Result<(), Error> {
    let bytes: usize = field.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes <= MAX_HEADER_BYTES {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the headers of a form field have {bytes} bytes; at most {MAX_HEADER_BYTES} are allowed"
    )))
}

fn set_once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Invalid(format!("the form field {name} was given twice"))),
    }
}

async fn text(name: &str, field: &mut Field<'_>, max: usize) -> Result<String, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > max {
            return Err(Error::TooLarge(format!("the form field {name} is larger than {max} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes.into()).map_err(|_| Error::Invalid(format!("the form field {name} is not UTF-8")))
}

/// Whatever ends a form early is its sender's doing.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn broken(error: MultipartError) -> Error {
    if cause::<Stalled>(&error).is_some() {
        return Error::Stalled;
    }
    match cause::<Overrun>(&error) {
        Some(overrun) => Error::Invalid(overrun.to_string()),
        None => Error::Invalid(format!("the form is cut off or malformed: {}", error.body_text())),
    }
}

/// How many bytes the parser was given since it last gave something back. It buffers these without a bound of its own.
#[derive(Clone, Default)]
struct Backlog(Arc<AtomicUsize>);

#[derive(Debug, thiserror::Error)]
#[error("the form is malformed: {MAX_BACKLOG_BYTES} bytes came without a field")]
struct Overrun;

impl Backlog {
    fn watch(&self, body: Body) -> Body {
        let backlog = self.clone();
        Body::from_stream(body.into_data_stream().map(move |chunk| {
            let chunk: Bytes = chunk?;
            let before = backlog.0.fetch_add(chunk.len(), Ordering::Relaxed);
            if before + chunk.len() > MAX_BACKLOG_BYTES {
                return Err(axum::BoxError::from(Overrun));
            }
            Ok(chunk)
        }))
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
