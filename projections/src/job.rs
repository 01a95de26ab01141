//! The read model of jobs: the status hash and the indexes.

use std::collections::{BTreeMap, HashMap};

use events::failure::{DeadLetterKind, Failure, FailureKind, LossCause};
use events::job::{
    ArtifactTotals, Completed, DeadLetter, Ended, Losses, Run, TrackedRun, Tracking, Untracked, Waiting, evolve,
};
use events::time::from_unix_micros;
use events::{AggregateId, Envelope, Job, JobEvent, JobId, JobSpec, JobState};
use serde_json::Value;

use crate::fields::{CANCEL_REQUESTED_BY, FENCE, Fields, IDEMPOTENCY, USER, Unreadable, VERSION, store_time};
use crate::patch::{Patch, View, diff};
use crate::{Keyspace, board, idempotency, results};

/// A job as Redis keys.
#[must_use]
pub fn view(keys: &Keyspace, job: &Job) -> View {
    let user = &job.spec.user;
    let record = |key| idempotency::record(keys, user, key, AggregateId::Job(job.id), job.created_at);
    View {
        key: keys.job(job.id),
        fields: fields(job),
        memberships: memberships(keys, job),
        member: job.id.to_string(),
        windows: match job.refunded_at {
            None => BTreeMap::from([(keys.rate(user), job.created_at.timestamp_millis())]),
            Some(at) => BTreeMap::from([(keys.refunds(user), at.timestamp_millis())]),
        },
        records: job.spec.idempotency.iter().map(record).collect(),
        totals: BTreeMap::new(),
        places: board::places(keys, job),
    }
}

/// What new events of a job do to the read models.
#[must_use]
pub fn project(keys: &Keyspace, id: JobId, before: Option<&Job>, events: &[Envelope<JobEvent>]) -> Vec<Patch> {
    let after = events.iter().fold(before.cloned(), |state, event| evolve(id, state, event));
    let view = |job: &Job| view(keys, job);
    let mut patches = diff(before.map(view).as_ref(), after.as_ref().map(view).as_ref());
    for envelope in events {
        match &envelope.event {
            JobEvent::Completed { results, .. } => patches.push(results::record(keys, id, results)),
            JobEvent::Expired {} => patches.push(Patch::Delete { key: keys.result(id) }),
            JobEvent::Enqueued { .. }
            | JobEvent::Dispatched {}
            | JobEvent::Held {}
            | JobEvent::Started { .. }
            | JobEvent::Failed { .. }
            | JobEvent::LeaseLost { .. }
            | JobEvent::RetryScheduled { .. }
            | JobEvent::DeadLettered { .. }
            | JobEvent::Replayed { .. }
            | JobEvent::CancelRequested { .. }
            | JobEvent::Cancelled { .. }
            | JobEvent::Tracked { .. } => {}
        }
    }
    patches
}

/// The scores of a user's jobs that have a slot.
pub const DISPATCHED: i64 = 0;
/// The score of those that run.
pub const RUNNING: i64 = 1;

fn memberships(keys: &Keyspace, job: &Job) -> BTreeMap<String, Option<i64>> {
    let created = Some(job.created_at.timestamp_millis());
    let JobSpec { user, submission, class, .. } = &job.spec;
    let mut sets = BTreeMap::from([
        (keys.jobs(), created),
        (keys.user_jobs(user), created),
        (keys.submission_jobs(*submission), None),
    ]);
    if !job.is_terminal() {
        sets.insert(keys.open(), None);
    }
    if let Some(end) = job.untracked.first() {
        sets.insert(keys.untracked(), Some(end.ended_at.timestamp_millis()));
    }
    match &job.state {
        JobState::Pending(Waiting::Dispatched(since)) => {
            sets.insert(keys.pending(class), Some(since.timestamp_millis()));
            sets.insert(keys.user_active(user), Some(DISPATCHED));
        }
        JobState::Pending(Waiting::Delayed(due)) => {
            sets.insert(keys.delayed(), Some(due.timestamp_millis()));
            sets.insert(keys.user_delayed(user), Some(due.timestamp_millis()));
        }
        JobState::DeadLettered(ended) => {
            sets.insert(keys.dead_letters(), Some(ended.at.timestamp_millis()));
        }
        // What waited longest is first, and a retry or a replay was accepted before what came later.
        JobState::Pending(Waiting::Held) => {
            sets.insert(keys.user_held(user), created);
        }
        JobState::Running => {
            sets.insert(keys.user_active(user), Some(RUNNING));
        }
        JobState::Completed(_) | JobState::Failed(_) | JobState::Cancelled(_) => {}
    }
    sets
}

fn fields(job: &Job) -> BTreeMap<&'static str, String> {
    let mut fields = BTreeMap::from([
        (VERSION, job.version.to_string()),
        ("submission", job.spec.submission.to_string()),
        (USER, job.spec.user.to_string()),
        ("class", job.spec.class.to_string()),
        ("config", job.spec.config.clone()),
        ("created_at", store_time(job.created_at)),
        ("updated_at", store_time(job.updated_at)),
    ]);
    let mut set = |field: &'static str, value: Option<String>| {
        if let Some(value) = value {
            fields.insert(field, value);
        }
    };
    set("trace", job.trace.as_ref().map(|trace| trace.as_str().to_owned()));
    let fences: Vec<&str> = job.fences.iter().map(events::Fence::as_str).collect();
    set("fences", (!fences.is_empty()).then(|| fences.join(" ")));
    set(FENCE, job.current_fence().map(ToString::to_string));
    set("last_loss", job.last_loss.map(|cause| cause.as_str().to_owned()));
    set("refunded_at", job.refunded_at.map(store_time));
    set(IDEMPOTENCY, job.spec.idempotency.as_ref().map(idempotency::store));
    set("lost", (job.losses != Losses::default()).then(|| format_losses(job.losses)));
    set(CANCEL_REQUESTED_BY, job.cancel_requested_by.as_ref().map(ToString::to_string));
    set("replay", job.replayed_by_request.as_ref().map(ToString::to_string));
    if let Some(run) = &job.run {
        set("started_at", Some(store_time(run.started_at)));
        set("worker", Some(run.worker.to_string()));
        set("gpus", (!run.gpus.is_empty()).then(|| run.gpus.join(" ")));
        set("sandbox", Some(run.sandbox.clone()));
        set("tracking", (!run.tracking.is_off()).then(|| run.tracking.as_str().to_owned()));
    }
    if let Some(tracked) = &job.tracked {
        set("run_id", Some(tracked.run_id.clone()));
        set("experiment_id", Some(tracked.experiment_id.clone()));
    }
    set("untracked", (!job.untracked.is_empty()).then(|| store_untracked(&job.untracked)));
    set("ended_at", job.ended_at().map(store_time));
    let state = match &job.state {
        JobState::Pending(Waiting::Held) => "held",
        JobState::Pending(Waiting::Dispatched(since)) => {
            set("since", Some(store_time(*since)));
            "dispatched"
        }
        JobState::Pending(Waiting::Delayed(due)) => {
            set("due", Some(store_time(*due)));
            "delayed"
        }
        JobState::Running => "running",
        JobState::Completed(Completed { artifacts, ranked, .. }) => {
            if *artifacts != ArtifactTotals::default() {
                set("artifacts", Some(format!("{} {} {}", artifacts.count, artifacts.bytes, artifacts.digest)));
            }
            set("ranked", (!ranked.is_empty()).then(|| board::store(ranked)));
            "completed"
        }
        JobState::Failed(Ended { why, .. }) => {
            set("kind", Some(why.kind.as_str().to_owned()));
            set("error", Some(why.error.clone()));
            set("exit_code", why.exit_code.map(|code| code.to_string()));
            set("log_tail", Some(why.log_tail.clone()));
            "failed"
        }
        JobState::Cancelled(Ended { why, .. }) => {
            set("error", why.clone());
            "cancelled"
        }
        JobState::DeadLettered(Ended { why, .. }) => {
            set("kind", Some(why.kind.as_str().to_owned()));
            set("error", Some(why.error.clone()));
            "dead_lettered"
        }
    };
    set("state", Some(state.to_owned()));
    fields
}

/// Reads a job back from its hash; none from an empty one.
///
/// # Errors
/// Which field does not hold what [`view`] writes.
pub fn read(key: &str, id: JobId, hash: &HashMap<String, String>) -> Result<Option<Job>, Unreadable> {
    if hash.is_empty() {
        return Ok(None);
    }
    let fields = Fields::new(key, hash);
    let spec = JobSpec {
        submission: fields.get("submission")?,
        user: fields.get(USER)?,
        class: fields.get("class")?,
        config: fields.get("config")?,
        idempotency: idempotency::restore(&fields, IDEMPOTENCY)?,
    };
    let fences = fields
        .optional::<String>("fences")?
        .unwrap_or_default()
        .split_ascii_whitespace()
        .map(|fence| fence.parse().map_err(|_| fields.unreadable("field \"fences\" holds something else")))
        .collect::<Result<_, _>>()?;
    Ok(Some(Job {
        id,
        version: fields.get(VERSION)?,
        spec,
        trace: fields.optional("trace")?,
        created_at: fields.time("created_at")?,
        updated_at: fields.time("updated_at")?,
        fences,
        losses: read_losses(&fields)?,
        last_loss: read_last_loss(&fields)?,
        refunded_at: fields.optional_time("refunded_at")?,
        cancel_requested_by: fields.optional(CANCEL_REQUESTED_BY)?,
        replayed_by_request: fields.optional("replay")?,
        tracked: read_tracked(&fields)?,
        untracked: read_untracked(&fields)?,
        run: read_run(&fields)?,
        state: read_state(&fields)?,
    }))
}

fn read_run(fields: &Fields<'_>) -> Result<Option<Run>, Unreadable> {
    let Some(worker) = fields.optional("worker")? else {
        return Ok(None);
    };
    let gpus = fields.optional::<String>("gpus")?.unwrap_or_default();
    Ok(Some(Run {
        started_at: fields.time("started_at")?,
        worker,
        gpus: gpus.split_ascii_whitespace().map(str::to_owned).collect(),
        sandbox: fields.get("sandbox")?,
        tracking: read_tracking(fields)?,
    }))
}

fn read_tracking(fields: &Fields<'_>) -> Result<Tracking, Unreadable> {
    let there = fields.optional::<String>("tracking")?.is_some();
    there.then(|| read_kind(fields, "tracking")).transpose().map(Option::unwrap_or_default)
}

/// Fences and times, each after the other.
fn store_untracked(ends: &[Untracked]) -> String {
    let end = |end: &Untracked| format!("{} {}", end.fence, store_time(end.ended_at));
    ends.iter().map(end).collect::<Vec<_>>().join(" ")
}

fn read_untracked(fields: &Fields<'_>) -> Result<Vec<Untracked>, Unreadable> {
    let text = fields.optional::<String>("untracked")?.unwrap_or_default();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let end = |pair: &[&str]| match pair {
        [fence, at] => Some(Untracked { fence: fence.parse().ok()?, ended_at: at.parse().ok().map(from_unix_micros)? }),
        _ => None,
    };
    let ends = words.chunks(2).map(end).collect::<Option<_>>();
    ends.ok_or_else(|| fields.unreadable("field \"untracked\" holds something else"))
}

fn read_tracked(fields: &Fields<'_>) -> Result<Option<TrackedRun>, Unreadable> {
    let Some(run_id) = fields.optional("run_id")? else {
        return Ok(None);
    };
    Ok(Some(TrackedRun { run_id, experiment_id: fields.get("experiment_id")? }))
}

fn read_state(fields: &Fields<'_>) -> Result<JobState, Unreadable> {
    let ended = || fields.time("ended_at");
    Ok(match fields.text("state")? {
        "held" => JobState::Pending(Waiting::Held),
        "dispatched" => JobState::Pending(Waiting::Dispatched(fields.time("since")?)),
        "delayed" => JobState::Pending(Waiting::Delayed(fields.time("due")?)),
        "running" => JobState::Running,
        "completed" => JobState::Completed(Completed {
            at: ended()?,
            artifacts: read_artifacts(fields)?,
            ranked: board::restore(fields, "ranked")?,
        }),
        "failed" => {
            let why = Failure {
                kind: read_kind::<FailureKind>(fields, "kind")?,
                error: fields.get("error")?,
                exit_code: fields.optional("exit_code")?,
                log_tail: fields.get("log_tail")?,
            };
            JobState::Failed(Ended { at: ended()?, why })
        }
        "cancelled" => JobState::Cancelled(Ended { at: ended()?, why: fields.optional("error")? }),
        "dead_lettered" => {
            let why = DeadLetter { kind: read_kind::<DeadLetterKind>(fields, "kind")?, error: fields.get("error")? };
            JobState::DeadLettered(Ended { at: ended()?, why })
        }
        other => return Err(fields.unreadable(format!("{other:?} is no state"))),
    })
}

fn read_kind<K: serde::de::DeserializeOwned>(fields: &Fields<'_>, field: &str) -> Result<K, Unreadable> {
    let kind = fields.text(field)?;
    serde_json::from_value(Value::String(kind.to_owned())).map_err(|error| fields.unreadable(error.to_string()))
}

fn read_last_loss(fields: &Fields<'_>) -> Result<Option<LossCause>, Unreadable> {
    let there = fields.optional::<String>("last_loss")?.is_some();
    there.then(|| read_kind(fields, "last_loss")).transpose()
}

fn format_losses(losses: Losses) -> String {
    format!("{} {}", losses.worker_lost, losses.infrastructure)
}

fn read_losses(fields: &Fields<'_>) -> Result<Losses, Unreadable> {
    let Some(text) = fields.optional::<String>("lost")? else {
        return Ok(Losses::default());
    };
    let parse = |(workers, rest): (&str, &str)| {
        Some(Losses { worker_lost: workers.parse().ok()?, infrastructure: rest.parse().ok()? })
    };
    text.split_once(' ').and_then(parse).ok_or_else(|| fields.unreadable("field \"lost\" holds something else"))
}

fn read_artifacts(fields: &Fields<'_>) -> Result<ArtifactTotals, Unreadable> {
    let Some(text) = fields.optional::<String>("artifacts")? else {
        return Ok(ArtifactTotals::default());
    };
    let mut parts = text.splitn(3, ' ');
    let mut next = || parts.next().ok_or_else(|| fields.unreadable("field \"artifacts\" holds something else"));
    let number = |text: &str| text.parse().map_err(|_| fields.unreadable("field \"artifacts\" holds something else"));
    Ok(ArtifactTotals { count: number(next()?)?, bytes: number(next()?)?, digest: next()?.to_owned() })
}

#[cfg(test)]
mod tests;
