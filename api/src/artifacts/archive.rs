//! All that a job left in one `tar.gz`, made while it is sent: a piece at a time, so that memory is bounded, and with no
//! thread held while a client is slow.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use events::ports::{ArtifactPort, ArtifactReader};
use events::{Artifact, JobId};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;

use super::catalogue::{Artifacts, Kept};
use super::{download, media};
use crate::answer::error::Error;
use crate::openapi::errors::ObjectError;
use crate::openapi::texts::FileContent;
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{NoParams, Params};

/// How many bytes are packed at a time.
const PIECE_BYTES: usize = 256 << 10;
/// What a tar file is made of.
const BLOCK_BYTES: u64 = 512;

/// Downloads all files that a job left as one archive.
#[utoipa::path(
    get,
    path = "/jobs/{id}/artifacts.tar.gz",
    operation_id = "download_artifacts",
    tag = "Artifacts",
    params(OfJob),
    responses((status = 200, description = "The archive.", body = FileContent, content_type = "application/gzip"), ObjectError),
)]
pub(crate) async fn archive(
    State(artifacts): State<Arc<Artifacts>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
) -> Result<Response, Error> {
    let kept = artifacts.of(&job).await?;
    let mtime = job.ended_at().and_then(|at| u64::try_from(at.timestamp()).ok()).unwrap_or(0);
    let packer = Packer {
        port: Arc::clone(&artifacts.port),
        job: job.id,
        kept,
        mtime,
        next: 0,
        current: None,
        encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
    };
    let pieces = stream::try_unfold(packer, |mut packer| async move {
        let piece = packer.piece().await.inspect_err(|error| tracing::warn!(%error, "an archive was cut off"))?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, packer)))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"artifacts-{}.tar.gz\"", job.id)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    media::confine(headers);
    Ok(response)
}

/// What packs, and what it has packed.
type Encoder = GzEncoder<Vec<u8>>;

struct Packer {
    port: Arc<dyn ArtifactPort>,
    job: JobId,
    kept: Arc<Kept>,
    mtime: u64,
    /// Which file of the list comes next.
    next: usize,
    current: Option<Current>,
    /// None once the archive has been ended.
    encoder: Option<Encoder>,
}

/// The file that is being packed.
struct Current {
    reader: Box<dyn ArtifactReader>,
    left: u64,
    padding: usize,
}

impl Packer {
    /// Returns the next bytes of the archive; `None` at its end.
    async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(encoder) = self.encoder.take() {
            let plain = self.fill().await?;
            let is_last = self.current.is_none() && self.next > self.kept.list.files.len();
            let packed = tokio::task::spawn_blocking(move || pack(encoder, &plain, is_last));
            let (packed, encoder) = packed.await.map_err(io::Error::other)??;
            self.encoder = encoder;
            if !packed.is_empty() {
                return Ok(Some(packed.into()));
            }
        }
        Ok(None)
    }

    /// About a piece of the tar file.
    async fn fill(&mut self) -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(PIECE_BYTES);
        while plain.len() < PIECE_BYTES {
            match &mut self.current {
                Some(current) if current.left == 0 => {
                    plain.resize(plain.len() + current.padding, 0);
                    self.current = None;
                }
                Some(current) => {
                    let piece = download::next(&mut *current.reader, current.left).await?;
                    current.left -= piece.len() as u64;
                    plain.extend_from_slice(&piece);
                }
                None => {
                    let kept = Arc::clone(&self.kept);
                    let file = kept.list.files.get(self.next);
                    self.next += 1;
                    let Some(file) = file else {
                        // Two empty blocks are the end.
                        plain.resize(plain.len() + 1024, 0);
                        break;
                    };
                    plain.extend(header(file, self.mtime)?);
                    self.current = Some(open(&*self.port, self.job, &kept, file).await?);
                }
            }
        }
        Ok(plain)
    }
}

async fn open(port: &dyn ArtifactPort, job: JobId, kept: &Kept, file: &Artifact) -> io::Result<Current> {
    let gone = || io::Error::other(format!("{} is not there any more", file.path));
    let fence = kept.fence.as_ref().ok_or_else(gone)?;
    let opened = port.open(job, fence, &file.path, 0).await.map_err(io::Error::other)?;
    let padding = file.bytes.next_multiple_of(BLOCK_BYTES) - file.bytes;
    Ok(Current { reader: opened.ok_or_else(gone)?, left: file.bytes, padding: usize::try_from(padding).unwrap_or(0) })
}

/// What stands before a file's content, a long name included.
fn header(file: &Artifact, mtime: u64) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(file.bytes);
    header.set_mode(0o644);
    header.set_mtime(mtime);
    let mut builder = tar::Builder::new(Vec::new());
    // The content follows by itself.
    builder.append_data(&mut header, file.path.as_str(), io::empty())?;
    Ok(std::mem::take(builder.get_mut()))
}

fn pack(mut encoder: Encoder, plain: &[u8], is_last: bool) -> io::Result<(Vec<u8>, Option<Encoder>)> {
    encoder.write_all(plain)?;
    if is_last {
        return Ok((encoder.finish()?, None));
    }
    Ok((std::mem::take(encoder.get_mut()), Some(encoder)))
}
