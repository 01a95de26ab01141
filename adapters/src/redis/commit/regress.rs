//! Putting on record that Redis came back without the newest part of the event log.

use events::execute::MAX_TRIES;
use events::log::regress::LogEvent;
use events::ports::PortError;
use events::{Actor, Change, Commit, CommitError, Envelope, Lane, Problem, StreamId};

use super::wire::encode;
use crate::redis::commit::committer::{read_answer, script};
use crate::redis::connection::trouble::{away, problem, unreadable};
use crate::redis::reads::entries::read_entries;
use crate::redis::{Redis, redis_time};

impl Redis {
    /// Puts on record, once for each run of Redis, that the entry `lost` is gone, and goes on from the log's end.
    pub(crate) async fn record_regress(&self, lost: StreamId) -> Result<(), PortError> {
        for _ in 0..MAX_TRIES {
            let key = self.keys().regress();
            let (time, hash) = self.load(&key).await?;
            let before = projections::regress::read(&key, &hash).map_err(unreadable)?;
            let info: redis::InfoDict =
                redis::cmd("INFO").arg("server").query_async(&mut self.connection()).await.map_err(away)?;
            let run_id: String = info.get("run_id").unwrap_or_default();
            if before.as_ref().is_some_and(|record| record.run_id == run_id) {
                self.position.fell_back(lost, self.newest_entry().await?);
                return Ok(());
            }
            tracing::error!(
                %lost,
                run_id,
                "Redis came back without the newest part of the event log: what it had acknowledged since then is \
                 lost. Jobs that ran meanwhile are run again; `leadersboard doctor` tells how to keep this from \
                 happening"
            );
            let event = Envelope {
                seq: before.as_ref().map_or(0, |record| record.version) + 1,
                at: redis_time(time),
                actor: Actor::System("log".to_owned()),
                trace: None,
                event: LogEvent::Regressed { lost_from: lost.to_string(), run_id },
            };
            let change = Change::Log { before, event };
            let commit = Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Progress };
            match self.commit_unseen(&commit).await {
                Ok(made) => {
                    metrics::counter!("leadersboard_log_regressed_total").increment(1);
                    self.position.fell_back(lost, made.last().copied());
                    return Ok(());
                }
                Err(CommitError::Conflict) => {}
                Err(error) => {
                    let sentence = error.to_string();
                    return Err(PortError::Unavailable(Problem::caused_by(error, sentence)));
                }
            }
        }
        Err(PortError::Unavailable("the loss of a part of the event log could not be put on record".into()))
    }

    /// Makes one commit whatever this process has seen of the log.
    async fn commit_unseen(&self, commit: &Commit) -> Result<Vec<StreamId>, CommitError> {
        let encoded = encode(&self.keys, commit);
        let answers: Vec<Vec<redis::Value>> = script(commit.lane)
            .key(self.keys().events())
            .key(self.keys().leases())
            .arg(self.keys().queue_prefix())
            .arg("")
            .arg(&encoded.bytes)
            .invoke_async(&mut self.connection())
            .await
            .map_err(|error| CommitError::Unavailable(problem(error)))?;
        read_answer(&encoded.guards, answers.first().map_or(&[], Vec::as_slice))
    }

    /// The end of the event log as it is now; none while it is empty.
    pub(crate) async fn newest_entry(&self) -> Result<Option<StreamId>, PortError> {
        let newest: redis::Value = redis::cmd("XREVRANGE")
            .arg(&[&self.keys().events(), "+", "-", "COUNT", "1"])
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        Ok(read_entries(&newest)?.first().map(|entry| entry.id))
    }
}
