//! Group commit: the commits that wait in this process go to Redis in one call, each with its own answer.
//!
//! While one call is under way the next batch gathers, so under `appendfsync always` many commits share one `fsync`.

use std::fmt::Display;
use std::sync::Arc;

use events::{Commit, CommitError, Guard, Lane, Problem, StreamId};
use projections::Keyspace;
use redis::{RedisError, Script, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::position::Position;
use super::wire::{Encoded, encode};
use crate::redis::connection::shared::Shared;
use crate::redis::connection::trouble::{cure, describe, problem};

/// The most commits in one call.
const MAX_BATCH: usize = 128;
/// The most bytes in one call of several commits.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// The largest commit: results twice, in their event and in their read model, and the boards that they are on.
const MAX_COMMIT_BYTES: usize = 1280 * 1024;
/// How many commits may queue before their callers wait.
const MAX_WAITING: usize = 1024;

const BODY: &str = include_str!("commit.lua");

/// The queue in front of one of the two forms of the commit script.
#[derive(Clone)]
pub(crate) struct Committer {
    lane: &'static str,
    waiting: mpsc::Sender<Waiting>,
}

struct Waiting {
    commit: Encoded,
    answer: oneshot::Sender<Result<Vec<StreamId>, CommitError>>,
}

impl Committer {
    pub(crate) fn spawn(lane: Lane, connection: Shared, keys: Keyspace, position: Position) -> Self {
        let script = script(lane);
        let lane = match lane {
            Lane::Admission => "admission",
            Lane::Progress => "progress",
        };
        let (waiting, queue) = mpsc::channel(MAX_WAITING);
        tokio::spawn(
            Batches { lane, script, connection, keys: Arc::new(keys), position, queue, left_over: None }.run(),
        );
        Self { lane, waiting }
    }

    pub(crate) async fn commit(&self, keys: &Keyspace, commit: &Commit) -> Result<Vec<StreamId>, CommitError> {
        let began = Instant::now();
        let encoded = encode(keys, commit);
        if encoded.bytes.len() > MAX_COMMIT_BYTES {
            return Err(CommitError::TooLarge(encoded.bytes.len()));
        }
        let result = self.send(encoded).await;
        metrics::histogram!("leadersboard_commit_seconds", "lane" => self.lane).record(began.elapsed());
        metrics::counter!("leadersboard_commits_total", "lane" => self.lane, "result" => label(&result)).increment(1);
        result
    }

    async fn send(&self, commit: Encoded) -> Result<Vec<StreamId>, CommitError> {
        let (answer, answered) = oneshot::channel();
        let stopped = || CommitError::Unavailable("this process is stopping".into());
        self.waiting.send(Waiting { commit, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

/// Returns the script in the form of a lane.
pub(crate) fn script(lane: Lane) -> Script {
    let first_line = match lane {
        Lane::Admission => "#!lua",
        Lane::Progress => "#!lua flags=allow-oom",
    };
    Script::new(&format!("{first_line}\n{BODY}"))
}

const fn label(result: &Result<Vec<StreamId>, CommitError>) -> &'static str {
    match result {
        Ok(_) => "committed",
        Err(CommitError::Conflict) => "conflict",
        Err(CommitError::Regressed) => "regressed",
        Err(CommitError::GuardFailed(_)) => "guard_failed",
        Err(CommitError::Full) => "full",
        Err(CommitError::TooLarge(_)) => "too_large",
        Err(CommitError::Unavailable(_)) => "unavailable",
        Err(CommitError::Defect(_)) => "defect",
    }
}

struct Batches {
    lane: &'static str,
    script: Script,
    connection: Shared,
    keys: Arc<Keyspace>,
    position: Position,
    queue: mpsc::Receiver<Waiting>,
    left_over: Option<Waiting>,
}

impl Batches {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            metrics::histogram!("leadersboard_commit_batch_size", "lane" => self.lane).record(batch.len() as f64);
            let answers = self.call(&batch).await;
            for (waiting, answer) in batch.into_iter().zip(answers) {
                // A caller that went away does not need its answer.
                let _ = waiting.answer.send(answer);
            }
        }
    }

    async fn next_batch(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.left_over.take() {
            Some(waiting) => waiting,
            None => self.queue.recv().await?,
        };
        let mut bytes = first.commit.bytes.len();
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = self.queue.try_recv()
        {
            bytes += next.commit.bytes.len();
            if bytes > MAX_BATCH_BYTES {
                self.left_over = Some(next);
                break;
            }
            batch.push(next);
        }
        Some(batch)
    }

    async fn call(&mut self, batch: &[Waiting]) -> Vec<Result<Vec<StreamId>, CommitError>> {
        let mut call = self.script.prepare_invoke();
        call.key(self.keys.events()).key(self.keys.leases()).arg(self.keys.queue_prefix());
        call.arg(self.position.get().map_or_else(String::new, |newest| newest.to_string()));
        for waiting in batch {
            call.arg(&waiting.commit.bytes);
        }
        match call.invoke_async::<Vec<Vec<Value>>>(&mut self.connection.clone()).await {
            Ok(answers) if answers.len() == batch.len() => {
                let answers: Vec<_> = batch
                    .iter()
                    .zip(answers)
                    .map(|(waiting, answer)| read_answer(&waiting.commit.guards, &answer))
                    .collect();
                let made = answers.iter().filter_map(|answer| answer.as_ref().ok()).flatten();
                self.position.saw(made.copied().max());
                answers
            }
            Ok(answers) => {
                let defect = CommitError::Defect(
                    format!("Redis gave {} answers to {} commits", answers.len(), batch.len()).into(),
                );
                vec![Err(defect); batch.len()]
            }
            Err(error) => vec![Err(refusal(error)); batch.len()],
        }
    }
}

pub(crate) fn read_answer(guards: &[Option<Guard>], answer: &[Value]) -> Result<Vec<StreamId>, CommitError> {
    let defect = || CommitError::Defect(format!("Redis gave an answer that can't be read: {answer:?}").into());
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).map_err(|_| defect());
    let (kind, rest) = answer.split_first().ok_or_else(defect)?;
    match (text(kind)?.as_str(), rest) {
        ("ok", ids) => ids.iter().map(|id| text(id)?.parse().map_err(|_| defect())).collect(),
        ("guard", [number]) => {
            let number: usize = redis::from_redis_value_ref(number).map_err(|_| defect())?;
            match guards.get(number.wrapping_sub(1)).ok_or_else(defect)? {
                None => Err(CommitError::Conflict),
                Some(guard) => Err(CommitError::GuardFailed(guard.clone())),
            }
        }
        ("regressed", []) => Err(CommitError::Regressed),
        ("error", [problem]) => Err(CommitError::Defect(refused(text(problem)?).into())),
        ("wrong_type", [key, found, wanted]) => {
            let (key, found, wanted) = (text(key)?, text(found)?, text(wanted)?);
            let problem = format!(
                "the key {key} in Redis is a {found} and must be a {wanted}: `leadersboard doctor --repair` moves it \
                 into quarantine and restores what the log tells"
            );
            Err(CommitError::Defect(refused(problem).into()))
        }
        _ => Err(defect()),
    }
}

/// Classifies the failure of a whole call. A commit that is not known to be refused may have been made.
fn refusal(error: RedisError) -> CommitError {
    match error.code() {
        Some("OOM") => CommitError::Full,
        Some("WRONGTYPE") => CommitError::Defect(refused(format!("{}: {}", describe(&error), cure(&error))).into()),
        Some("ERR" | "NOPERM") => {
            let sentence = refused(&error);
            CommitError::Defect(Problem::caused_by(error, sentence))
        }
        _ => CommitError::Unavailable(problem(error)),
    }
}

fn refused(why: impl Display) -> String {
    format!("Redis refused the commit: {why}")
}
