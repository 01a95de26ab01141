//! What a job printed: all of it, its end, or piece by piece for clients that poll.

pub(crate) mod follower;
mod lines;
mod messages;
mod place;
mod screen;
pub(crate) mod stream;
mod text;

use std::sync::Arc;

use axum::extract::State;
use events::ports::{LogPort, PortError};
use events::{Fence, Job};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::answer::error::Error;
use crate::answer::json_answer::Json;
use crate::openapi::errors::ObjectError;
use crate::openapi::texts::Id;
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{Asked, Pairs, Params};

use lines::{Lines, View};
use text::{Part, Source};

/// The most bytes in one answer to a polling client, and the default.
const MAX_PIECE_BYTES: usize = 1 << 20;
const PIECE_BYTES: usize = 256 << 10;

/// The fewest bytes worth asking for: the longest character has as many, so that every piece gets on.
const MIN_PIECE_BYTES: usize = 4;

/// Which part of a log to show.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only the last lines of the newest attempt. It can't be combined with `attempt`, `offset` or `max_bytes`.
    #[param(minimum = 0, maximum = 18_446_744_073_709_551_615_u64)]
    tail_lines: Option<u64>,
    /// The attempt, from 1. The default is the newest.
    #[param(minimum = 1, maximum = 4_294_967_295_u32)]
    attempt: Option<u32>,
    /// The byte of the stored log to begin at.
    #[param(minimum = 0, maximum = 18_446_744_073_709_551_615_u64)]
    offset: Option<u64>,
    /// At most this many bytes are read: 256 KiB if you ask for an attempt or an offset, else the whole log.
    #[param(minimum = 4, maximum = 1_048_576)]
    max_bytes: Option<usize>,
    /// Return the text as the program printed it. Do not write it to a terminal.
    raw: Option<bool>,
}

impl LogQuery {
    fn view(&self, view: View) -> View {
        if self.raw == Some(true) { View::Raw } else { view }
    }
}

/// The parameters of a client that polls.
const OF_PIECES: [&str; 3] = ["attempt", "offset", "max_bytes"];

impl Asked for LogQuery {
    fn read(pairs: Pairs) -> Result<Self, Error> {
        // A request for the last lines has always accepted unknown parameters.
        if OF_PIECES.iter().any(|name| pairs.has(name)) {
            pairs.know_only(&["tail_lines", "attempt", "offset", "max_bytes", "raw"])?;
        }
        Ok(Self {
            tail_lines: pairs.number("tail_lines", 0)?,
            attempt: pairs.number("attempt", 1)?,
            offset: pairs.number("offset", 0)?,
            max_bytes: pairs.number("max_bytes", 0)?,
            raw: pairs.flag("raw")?,
        })
    }
}

/// A log, or a piece of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Log)]
pub(crate) struct PieceView {
    #[schema(value_type = Id)]
    job_id: String,
    /// 0 before the first run.
    attempt: u32,
    /// The byte of the stored log where the text begins.
    offset: u64,
    /// The byte to go on from.
    next_offset: u64,
    #[schema(example = "epoch 1/20\nepoch 2/20\n")]
    logs: String,
    /// The attempt has no more output.
    complete: bool,
    /// The answer begins later than requested: it has only the last 16 MiB.
    truncated: bool,
}

/// Shows the log of a job, its last lines, or a piece of it.
///
/// Without parameters it is the whole log of the newest attempt, or its last 16 MiB. To poll, ask with `offset=0` and then
/// with the `next_offset` of each answer, until `complete` is true. A log without text is an empty text.
#[utoipa::path(
    get,
    path = "/jobs/{id}/logs",
    operation_id = "job_logs",
    tag = "Logs",
    params(OfJob, LogQuery),
    responses((status = 200, description = "The text.", body = PieceView), ObjectError),
)]
pub(crate) async fn logs(
    State(log): State<Arc<dyn LogPort>>,
    VisibleJob(job): VisibleJob,
    Params(query): Params<LogQuery>,
) -> Result<Json<PieceView>, Error> {
    if query.attempt.is_none() && query.offset.is_none() && query.max_bytes.is_none() {
        return Ok(Json(latest(&*log, &job, query.tail_lines, query.view(View::Settled)).await?));
    }
    if query.tail_lines.is_some() {
        return Err(Error::Invalid("tail_lines can't be combined with attempt, offset or max_bytes".to_owned()));
    }
    Ok(Json(piece(&*log, &job, &query).await?))
}

/// The log of the latest attempt, or its last lines. `job` was read before the log is, as for [`piece`].
async fn latest(log: &dyn LogPort, job: &Job, tail_lines: Option<u64>, view: View) -> Result<PieceView, Error> {
    let source = job.fences.last().map(|fence| Source::new(log, job.id, fence, &job.spec.user));
    let part = match (source, tail_lines) {
        (None, _) => Ok(Part::default()),
        (Some(source), None) => text::whole(&source, view).await,
        (Some(source), Some(lines)) => text::tail(&source, lines, view).await,
    };
    let part = part.map_err(storage_error)?;
    let Part { text: logs, offset, next_offset, truncated } = part;
    let complete = job.is_terminal();
    Ok(PieceView { job_id: job.id.to_string(), attempt: job.attempt(), offset, next_offset, logs, complete, truncated })
}

/// The text from an offset on. `job` was read before the log is, so that an attempt which is over has nothing to add
/// behind what is read here, and `complete` hides no line.
///
/// Before its first start a job is at attempt 0, whose log is empty.
async fn piece(log: &dyn LogPort, job: &Job, query: &LogQuery) -> Result<PieceView, Error> {
    let latest = job.attempt();
    let attempt = query.attempt.unwrap_or(latest);
    let offset = query.offset.unwrap_or(0);
    let max = query.max_bytes.unwrap_or(PIECE_BYTES);
    if attempt > latest {
        let had = if latest == 1 { "1 attempt".to_owned() } else { format!("{latest} attempts") };
        return Err(Error::Unknown(format!("the job has had {had}, so attempt {attempt} has no log yet")));
    }
    if !(MIN_PIECE_BYTES..=MAX_PIECE_BYTES).contains(&max) {
        return Err(Error::Invalid(format!("max_bytes must be {MIN_PIECE_BYTES} to {MAX_PIECE_BYTES}, not {max}")));
    }
    let over = attempt < latest || job.is_terminal();
    let mut piece = PieceView {
        job_id: job.id.to_string(),
        attempt,
        offset,
        next_offset: offset,
        logs: String::new(),
        complete: over,
        truncated: false,
    };
    if let Some(fence) = fence_of(job, attempt) {
        let bytes = log.read(job.id, fence, offset, max).await.map_err(storage_error)?;
        let end = log.len(job.id, fence).await.map_err(storage_error)?;
        piece.complete = over && offset.saturating_add(bytes.len() as u64) >= end.unwrap_or(0);
        // A place behind the end is one of another log.
        piece.offset = offset.min(end.unwrap_or(offset));
        let mut lines = Lines::from(piece.offset, query.view(View::Live));
        let mut excerpts = vec![lines.take(&bytes)];
        if piece.complete {
            excerpts.push(lines.finish());
        }
        piece.logs = excerpts.into_iter().flatten().map(|excerpt| excerpt.text).collect();
        piece.logs.push_str(&lines.rest());
        piece.next_offset = lines.resume();
        if piece.next_offset == piece.offset && bytes.len() == max {
            piece.next_offset = lines.end();
        }
    }
    Ok(piece)
}

/// Logs are in the storage, not in Redis.
fn storage_error(error: PortError) -> Error {
    match error {
        PortError::Unavailable(why) | PortError::Corrupt(why) => Error::Storage(format!("{why:#}")),
    }
}

fn fence_of(job: &Job, attempt: u32) -> Option<&Fence> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    job.fences.get(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_can_not_be_read_is_a_fault_of_the_storage() {
        let error = storage_error(PortError::Unavailable("the log can't be reached".into()));
        assert!(matches!(error, Error::Storage(_)), "{error:?}");
    }
}
