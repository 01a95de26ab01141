//! Recording a run: exactly one of its fence, complete, however often it was tried before.

use events::job::TrackedRun;
use events::ports::{RunRecord, RunStatus};

use super::Mlflow;
use super::wanted::{Wanted, outcome};
use crate::faults::failpoint;
use crate::mlflow::http::error::CallError;
use crate::mlflow::http::wire::{CreateRun, Done, Pair, Run, RunAnswer};

/// So often it is looked whether all is there: twice, where nobody else records the same.
const ROUNDS: usize = 4;

impl Mlflow {
    /// Has an open run with all of this, in the experiment as it is now.
    pub(super) async fn record_run(&self, record: &RunRecord) -> Result<TrackedRun, CallError> {
        let experiment = self.experiment.id().await?;
        match self.record_in(&experiment, record).await {
            Err(refused @ CallError::Refused { .. }) => {
                // The experiment may have been deleted since it was found.
                if self.experiment.is_active(&experiment).await? {
                    return Err(refused);
                }
                let experiment = self.experiment.renewed().await?;
                self.record_in(&experiment, record).await
            }
            other => other,
        }
    }

    /// Searching is also the reading back: only a search shows that the run is there once, and found by its tags.
    async fn record_in(&self, experiment: &str, record: &RunRecord) -> Result<TrackedRun, CallError> {
        let wanted = Wanted::of(record, &self.board);
        let mut sent: Option<String> = None;
        // A run that was begun is gone on with where it is, whatever the experiment is by now.
        let elsewhere = record.known.as_ref().map(|run| run.experiment_id.as_str()).filter(|id| *id != experiment);
        let experiments: Vec<&str> = [experiment].into_iter().chain(elsewhere).collect();
        let filter = format!("tags.`leadersboard.job_id` = '{}'", record.job);
        for _ in 0..ROUNDS {
            let found = self.search(&experiments, &filter, Some).await?;
            failpoint!("mlflow.search.after");
            let (ours, superfluous) = sort_out(found, &self.board, record);
            for run_id in superfluous {
                self.delete_run_if_open(&run_id).await?;
            }
            let difference = match &ours {
                None => Some("it is not found by its tags".to_owned()),
                // It was complete when it was closed.
                Some(run) if !run.info.is_open() => None,
                Some(run) => wanted.difference(run),
            };
            match (ours, difference, &sent) {
                (Some(run), None, _) => return run.tracked(),
                // Another process that records the same may have had its own run, and by now this is the only one.
                (ours, Some(difference), Some(run_id))
                    if ours.as_ref().is_none_or(|run| run.info.run_id == *run_id) =>
                {
                    return Err(self.not_kept(run_id, ours.is_none(), &difference).await);
                }
                (ours, ..) => sent = Some(self.complete(experiment, &wanted, ours).await?),
            }
            failpoint!("mlflow.read_back.before");
        }
        Err(CallError::Away(format!("Others are recording job {} in MLflow.", record.job)))
    }

    /// Sends what the run lacks, and makes one where there is none; which run it is then.
    async fn complete(&self, experiment: &str, wanted: &Wanted, ours: Option<Run>) -> Result<String, CallError> {
        let run = match ours {
            Some(run) if wanted.is_beyond_repair(&run) => {
                self.delete_run(&run.info.run_id).await?;
                self.create(experiment, wanted).await?
            }
            Some(run) => run,
            None => self.create(experiment, wanted).await?,
        };
        for batch in wanted.missing(&run).batches(&run.info.run_id) {
            self.client.post::<Done>("runs/log-batch", &batch).await?;
            failpoint!("mlflow.batch.after");
        }
        Ok(run.info.run_id)
    }

    async fn not_kept(&self, run_id: &str, is_lost: bool, difference: &str) -> CallError {
        if is_lost && let Err(error) = self.delete_run(run_id).await {
            // Nobody will find it by its tags: it stays until somebody sees it.
            return error;
        }
        CallError::refused(format!("MLflow did not keep run {run_id} as it was given: {difference}."))
    }

    async fn create(&self, experiment: &str, wanted: &Wanted) -> Result<Run, CallError> {
        failpoint!("mlflow.create.before");
        let request = CreateRun {
            experiment_id: experiment,
            run_name: &wanted.name,
            start_time: wanted.started_ms,
            tags: wanted.marks.iter().map(|(key, value)| Pair { key, value }).collect(),
        };
        let answer: RunAnswer = self.client.post("runs/create", &request).await?;
        failpoint!("mlflow.create.after");
        Ok(answer.run)
    }
}

/// Of the runs of a job the one that is this record's, if there is one, and those that are not to be there beside it.
///
/// A run under another fence is not this record's to judge. One of the same fence that tells of another end is: only
/// the accepted one is recorded as failed or cancelled, so whatever says that it completed does not count.
fn sort_out(found: Vec<Run>, board: &str, record: &RunRecord) -> (Option<Run>, Vec<String>) {
    let tag = |run: &Run, name: &str| run.data.tags.get(name).cloned().unwrap_or_default();
    let of_board = found.into_iter().filter(|run| tag(run, "leadersboard.board") == board);
    let of_fence = of_board.filter(|run| tag(run, "leadersboard.fence") == record.fence.as_str());
    let (mut ours, mut others): (Vec<Run>, Vec<Run>) =
        of_fence.partition(|run| tag(run, "leadersboard.outcome") == outcome(record.outcome));
    if record.outcome == RunStatus::Finished {
        others.clear();
    }
    let known = |run: &Run| record.known.as_ref().is_some_and(|known| known.run_id == run.info.run_id);
    ours.sort_by_key(|run| (run.info.is_open(), !known(run), run.info.run_id.clone()));
    let superfluous = ours.iter().skip(1).chain(&others).map(|run| run.info.run_id.clone()).collect();
    ours.truncate(1);
    (ours.pop(), superfluous)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use events::Results;
    use events::time::from_unix_micros;

    use super::*;
    use crate::mlflow::http::wire::{RunData, RunInfo};

    const FENCE: &str = "0123456789abcdef01234567";
    const OTHER: &str = "1123456789abcdef01234567";
    const OLD: &str = "2123456789abcdef01234567";

    fn record() -> RunRecord {
        RunRecord {
            job: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
            fence: FENCE.parse().unwrap(),
            attempt: 1,
            submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap(),
            user: "ann".parse().unwrap(),
            entrypoint: "main.py".to_owned(),
            started_at: from_unix_micros(1_000_000),
            worker: "host-1".parse().unwrap(),
            gpus: Vec::new(),
            sandbox: "standard".to_owned(),
            outcome: RunStatus::Finished,
            results: Results::default(),
            artifacts: None,
            known: None,
        }
    }

    fn run(run_id: &str, status: &str, fence: &str, board: &str) -> Run {
        let tags = BTreeMap::from([
            ("leadersboard.fence", fence),
            ("leadersboard.board", board),
            ("leadersboard.outcome", "completed"),
        ]);
        let tags = tags.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Run {
            info: RunInfo {
                run_id: run_id.to_owned(),
                experiment_id: "1".to_owned(),
                run_name: String::new(),
                status: status.to_owned(),
                start_time: None,
                end_time: None,
                artifact_uri: String::new(),
                lifecycle_stage: "active".to_owned(),
            },
            data: RunData { tags, ..RunData::default() },
        }
    }

    #[test]
    fn one_run_of_the_fence_stays_a_closed_one_before_an_open_one() {
        let found = vec![
            run("c", "RUNNING", FENCE, "main"),
            run("b", "RUNNING", FENCE, "main"),
            run("d", "RUNNING", OTHER, "main"),
            run("e", "RUNNING", OLD, "main"),
            run("f", "FAILED", OLD, "main"),
            run("g", "RUNNING", OLD, "another"),
            run("a", "RUNNING", FENCE, "another"),
        ];
        let (ours, superfluous) = sort_out(found.clone(), "main", &record());
        assert_eq!(ours.unwrap().info.run_id, "b");
        assert_eq!(superfluous, ["c"]);
        let closed = [found, vec![run("z", "FINISHED", FENCE, "main")]].concat();
        let (ours, superfluous) = sort_out(closed, "main", &record());
        assert_eq!(ours.unwrap().info.run_id, "z");
        assert_eq!(superfluous, ["b", "c"]);
        assert_eq!(sort_out(Vec::new(), "main", &record()), (None, Vec::new()));
    }

    #[test]
    fn what_was_begun_as_completed_goes_when_its_job_was_cancelled_and_never_the_other_way_round() {
        let mut cancelled = run("k", "RUNNING", FENCE, "main");
        cancelled.data.tags.insert("leadersboard.outcome".to_owned(), "cancelled".to_owned());
        let found = vec![run("c", "RUNNING", FENCE, "main"), cancelled];
        let late = record();
        let accepted = RunRecord { outcome: RunStatus::Killed, ..record() };
        let (ours, superfluous) = sort_out(found.clone(), "main", &accepted);
        assert_eq!((ours.unwrap().info.run_id.as_str(), superfluous), ("k", vec!["c".to_owned()]));
        let (ours, superfluous) = sort_out(found, "main", &late);
        assert_eq!((ours.unwrap().info.run_id.as_str(), superfluous), ("c", vec![]));
    }

    #[test]
    fn the_run_that_the_job_knows_is_taken_before_others() {
        let found = ["a", "b", "c"].map(|id| run(id, "RUNNING", FENCE, "main")).to_vec();
        let known = Some(TrackedRun { run_id: "b".to_owned(), experiment_id: "1".to_owned() });
        let (ours, superfluous) = sort_out(found, "main", &RunRecord { known, ..record() });
        assert_eq!((ours.unwrap().info.run_id.as_str(), superfluous.len()), ("b", 2));
    }
}
