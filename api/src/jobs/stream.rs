//! A job's status as it changes, as server-sent events.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event;
use events::JobId;
use events::ports::{EventFeed, EventFeedPort, EventLogPort, Heard, JobStatusPort, ProgressPort};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::progress::{self, StageView};
use super::story::{Novelty, StatusEvent, Story};
use crate::answer::error::Error;
use crate::answer::sse;
use crate::openapi::errors::StreamError;
use crate::openapi::messages::{self, Schemas};
use crate::request::extract::{OfJob, VisibleJob};
use crate::request::query::{NoParams, Params};
use crate::request::streams::StreamPlace;

/// How long nothing happens to a job before its stage is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait before asking Redis again.
const PAUSE: Duration = Duration::from_secs(1);

/// Streams the status of jobs.
pub(crate) struct StatusStreams {
    pub(crate) feed: Arc<dyn EventFeedPort>,
    pub(crate) log: Arc<dyn EventLogPort>,
    pub(crate) status: Arc<dyn JobStatusPort>,
    pub(crate) progress: Arc<dyn ProgressPort>,
    pub(crate) stop: CancellationToken,
}

/// A message of the stream.
pub(crate) enum Message {}

impl PartialSchema for Message {
    fn schema() -> RefOr<Schema> {
        let status = messages::named::<StatusEvent>("status", Some("2"));
        let stage = messages::named::<StageView>("stage", None);
        let end = messages::named::<StatusEvent>("end", None);
        messages::any("A message of a job's stream. Its id is the `seq` of the change.", [status, stage, end])
    }
}

impl ToSchema for Message {
    fn name() -> Cow<'static, str> {
        "JobMessage".into()
    }

    fn schemas(schemas: &mut Schemas) {
        messages::add::<StatusEvent>(schemas);
        messages::add::<StageView>(schemas);
    }
}

/// Where to resume.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what the handler reads")]
pub(crate) struct Resumed {
    /// The `id` of the last message that you have. 0 gives the whole history.
    #[param(rename = "Last-Event-ID", minimum = 0, maximum = 18_446_744_073_709_551_615_u64)]
    last_event_id: Option<u64>,
}

/// Streams the status of a job as server-sent events.
///
/// The first message is the status as it is, or what you have missed since `Last-Event-ID`. Then each change of the
/// status is a message named `status`. A message named `stage` tells the stage of a running job; it has no id. The
/// message `end` is the last one: it tells how the job ended. A stream that stops without `end` was cut off: connect
/// again with the last id. A comment line comes after every 15 s without news.
#[utoipa::path(
    get,
    path = "/jobs/{id}/stream",
    operation_id = "job_stream",
    tag = "Jobs",
    params(OfJob, Resumed),
    responses(
        (status = 200, description = "The messages.", body = Message, content_type = "text/event-stream"),
        StreamError,
    ),
)]
pub(crate) async fn stream(
    State(streams): State<Arc<StatusStreams>>,
    VisibleJob(job): VisibleJob,
    _: Params<NoParams>,
    place: StreamPlace,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let last_seen = sse::last_event_id(&headers, "the number of an event")?;
    // Before anything is read: what is appended between the two is heard of.
    let feed = streams.feed.subscribe(job.id).await?;
    let mut follower = Follower {
        streams,
        feed,
        job: job.id,
        story: Story::Untold,
        unsent: VecDeque::new(),
        stage: None,
        phase: Phase::Abreast,
    };
    match last_seen {
        None => follower.show_as_found().await?,
        Some(seq) => follower.go_on_after(seq).await?,
    }
    let events = futures::stream::unfold(follower, async |mut follower| Some((follower.next().await?, follower)));
    Ok(sse::answer(Box::pin(events), place))
}

/// One client's way through a job's events.
struct Follower {
    streams: Arc<StatusStreams>,
    feed: Box<dyn EventFeed>,
    job: JobId,
    /// The events that the client has, and those in `unsent`.
    story: Story,
    /// No longer than the job's history.
    unsent: VecDeque<StatusEvent>,
    /// The last stage that the client was sent.
    stage: Option<StageView>,
    phase: Phase,
}

enum Phase {
    /// The feed tells what comes next.
    Abreast,
    /// Something was missed: the history has to be read first.
    Behind,
    /// The end was sent.
    Over,
}

impl Follower {
    /// Returns the next event to send; `None` at the end of the stream, even if the job goes on.
    async fn next(&mut self) -> Option<Event> {
        let stop = self.streams.stop.clone();
        loop {
            if let Some(status) = self.unsent.pop_front() {
                return Some(sse::event("status", &status).id(status.seq.to_string()));
            }
            if let Phase::Over = self.phase {
                return None;
            }
            if let Some(end) = self.story.end() {
                self.phase = Phase::Over;
                return Some(sse::event("end", &end));
            }
            let heard = tokio::select! {
                () = stop.cancelled() => return None,
                heard = self.hear() => heard,
            };
            match heard {
                Ok(None) => {}
                Ok(Some(stage)) => return Some(sse::event("stage", &stage)),
                Err(Error::Unavailable(error)) => {
                    tracing::debug!(job = %self.job, error, "a stream waits for Redis");
                    tokio::select! { () = stop.cancelled() => return None, () = sleep(PAUSE) => {} }
                }
                // The records of the job are deleted. The next request gets a 404.
                Err(Error::Unknown(_)) => return None,
                Err(error) => {
                    tracing::error!(job = %self.job, ?error, "a stream can't go on");
                    return None;
                }
            }
        }
    }

    /// Waits for the next event, or reads the missed ones. Returns the job's stage if no event came.
    async fn hear(&mut self) -> Result<Option<StageView>, Error> {
        if let Phase::Abreast = self.phase {
            let Ok(heard) = timeout(LOOK, self.feed.next()).await else { return Ok(self.new_stage().await) };
            // Until what is heard is dealt with: whatever goes wrong on the way, the history has it.
            self.phase = Phase::Behind;
            let novelty = match heard {
                Heard::Event(entry) => self.story.hear(entry.event.clone()),
                Heard::Missed => Novelty::Gap,
            };
            match novelty {
                Novelty::Known => {}
                Novelty::Next(status) => self.unsent.push_back(*status),
                Novelty::Gap | Novelty::Gone => self.catch_up().await?,
            }
        } else {
            self.catch_up().await?;
        }
        self.phase = Phase::Abreast;
        Ok(None)
    }

    /// Returns the stage of the run if the client does not have it yet. An unreadable stage counts as absent: it is live
    /// state.
    async fn new_stage(&mut self) -> Option<StageView> {
        let stage = progress::stage(&*self.streams.progress, self.story.job()?).await.ok()??;
        if self.stage.as_ref() == Some(&stage) {
            return None;
        }
        self.stage = Some(stage.clone());
        Some(stage)
    }

    /// Reads what came after the last event that the client has. If that event is no longer the log's, neither is what
    /// the client believes: it is told how things stand.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let seq = self.story.seq();
        let mut entries = self.streams.log.history(self.job, seq.saturating_sub(1)).await?.into_iter();
        if !entries.next().is_some_and(|last| self.story.ends_with(&last.event)) {
            return self.show_as_found().await;
        }
        for entry in entries {
            match self.story.hear(entry.event) {
                Novelty::Known => {}
                Novelty::Next(status) => self.unsent.push_back(*status),
                Novelty::Gap | Novelty::Gone => return self.show_as_found().await,
            }
        }
        Ok(())
    }

    /// Begins after the event `last_seen` of the job's history. If the history does not have that event, the client gets
    /// the current status.
    async fn go_on_after(&mut self, last_seen: u64) -> Result<(), Error> {
        for entry in self.streams.log.history(self.job, 0).await? {
            match self.story.hear(entry.event) {
                Novelty::Known => {}
                Novelty::Next(status) if status.seq <= last_seen => {}
                Novelty::Next(status) => self.unsent.push_back(*status),
                Novelty::Gap | Novelty::Gone => return self.show_as_found().await,
            }
        }
        if self.story.seq() < last_seen.max(1) {
            return self.show_as_found().await;
        }
        Ok(())
    }

    /// Sends the job's current status, and continues from there.
    async fn show_as_found(&mut self) -> Result<(), Error> {
        let found = self.streams.status.job(self.job).await?;
        let job = found.ok_or_else(|| Error::Unknown("there is no such job".to_owned()))?;
        self.unsent.push_back(StatusEvent::as_found(&job));
        self.story = Story::Told(Box::new(job));
        Ok(())
    }
}
