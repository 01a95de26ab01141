//! What is asked of runs that are there: which are open, and that one be closed or deleted.

use std::collections::BTreeMap;

use events::JobId;
use events::job::TrackedRun;
use events::ports::{OpenRun, RunEnd, RunStatus};

use super::Mlflow;
use super::experiment::GONE;
use super::originals::{MAX_TAG_CHARS, cut};
use crate::faults::failpoint;
use crate::mlflow::http::error::{CallError, OVERSIZE};
use crate::mlflow::http::wire::{
    Done, LogBatch, Pair, Run, RunAnswer, RunId, RunsPage, SearchRuns, UpdateRun, UpdatedRun,
};

/// Runs are answered with all that they hold, so few at once.
const PAGE_RUNS: u32 = 20;
/// More are not looked at in one go.
const MAX_RUNS: usize = 500;

impl Mlflow {
    /// Closes a run, and sees that `MLflow` knows.
    pub(super) async fn close_run(&self, run: &TrackedRun, end: &RunEnd) -> Result<(), CallError> {
        let status = match end.status {
            RunStatus::Finished => "FINISHED",
            RunStatus::Failed => "FAILED",
            RunStatus::Killed => "KILLED",
        };
        let kept = self.active(&run.run_id).await?;
        if kept.info.status == status {
            return Ok(());
        }
        let mut tags = BTreeMap::new();
        tags.extend(end.kind.map(|kind| ("leadersboard.failure_kind", kind)));
        tags.extend(end.error.as_deref().map(|error| ("leadersboard.error", cut(error, MAX_TAG_CHARS).0)));
        self.tag(&kept, tags).await?;
        failpoint!("mlflow.close.before");
        let end_time = end.at.timestamp_millis();
        let request = UpdateRun { run_id: &run.run_id, status, end_time };
        let answer: UpdatedRun = self.client.post("runs/update", &request).await?;
        failpoint!("mlflow.close.after");
        if answer.run_info.status != status || answer.run_info.end_time != Some(end_time) {
            return Err(CallError::refused(format!(
                "MLflow did not close run {} as {status}: it is {}.",
                run.run_id, answer.run_info.status
            )));
        }
        Ok(())
    }

    /// The open runs of this board, the oldest first.
    pub(super) async fn list_open(&self, job: Option<JobId>) -> Result<Vec<OpenRun>, CallError> {
        let Some(experiment) = self.experiment.existing().await? else { return Ok(Vec::new()) };
        let of_job = job.map(|job| format!(" and tags.`leadersboard.job_id` = '{job}'")).unwrap_or_default();
        let filter = format!("attributes.status = 'RUNNING' and tags.`leadersboard.board` = '{}'{of_job}", self.board);
        // One whose tags somebody changed is nobody's to judge.
        let readable = |run: Run| {
            let job = run.data.tags.get("leadersboard.job_id")?.parse().ok()?;
            let fence = run.data.tags.get("leadersboard.fence")?.parse().ok()?;
            run.info.is_open().then_some(OpenRun { run_id: run.info.run_id, job, fence })
        };
        self.search(&[&experiment], &filter, readable).await
    }

    /// Deletes a run if it is open.
    pub(super) async fn delete_run_if_open(&self, run_id: &str) -> Result<bool, CallError> {
        match self.get(run_id).await {
            Ok(run) if run.info.is_open() && run.info.is_active() => self.delete_run(run_id).await.map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.is(GONE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a run; one that is gone is no error.
    pub(super) async fn delete_run(&self, run_id: &str) -> Result<(), CallError> {
        failpoint!("mlflow.delete.before");
        match self.client.post::<Done>("runs/delete", &RunId { run_id }).await {
            Err(error) if !error.is(GONE) => Err(error),
            _ => Ok(()),
        }
    }

    /// What is read of runs of these experiments that nobody deleted, the oldest first.
    pub(super) async fn search<T>(
        &self,
        experiments: &[&str],
        filter: &str,
        read: impl Fn(Run) -> Option<T>,
    ) -> Result<Vec<T>, CallError> {
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let (mut page_token, mut max_results) = (None, PAGE_RUNS);
        loop {
            let request = SearchRuns {
                experiment_ids: experiments,
                filter,
                run_view_type: "ACTIVE_ONLY",
                max_results,
                order_by: ["attributes.start_time ASC"],
                page_token: page_token.as_deref(),
            };
            let page: RunsPage = match self.client.post("runs/search", &request).await {
                // Runs that hold much are looked at one by one, from the first on: a token goes with the size of pages.
                Err(error) if error.is(OVERSIZE) && max_results > 1 => {
                    (found, looked_at, page_token, max_results) = (Vec::new(), 0, None, 1);
                    continue;
                }
                page => page?,
            };
            let is_empty = page.runs.is_empty();
            looked_at += page.runs.len();
            found.extend(page.runs.into_iter().filter_map(&read));
            page_token = page.next_page_token.filter(|token| !token.is_empty());
            if page_token.is_none() || is_empty || looked_at >= MAX_RUNS {
                return Ok(found);
            }
        }
    }

    pub(super) async fn get(&self, run_id: &str) -> Result<Run, CallError> {
        Ok(self.client.get::<RunAnswer>("runs/get", &[("run_id", run_id)]).await?.run)
    }

    /// A run that nobody deleted.
    pub(super) async fn active(&self, run_id: &str) -> Result<Run, CallError> {
        let run = self.get(run_id).await?;
        if run.info.is_active() {
            return Ok(run);
        }
        Err(CallError::refused(format!("Run {run_id} was deleted in MLflow.")))
    }

    /// Gives a run these tags where it has not got them, and sees that it has.
    pub(super) async fn tag(&self, kept: &Run, tags: BTreeMap<&str, &str>) -> Result<(), CallError> {
        let lacks = |run: &Run| -> Vec<Pair<'_>> {
            let lacking =
                tags.iter().filter(|(key, value)| run.data.tags.get(**key).map(String::as_str) != Some(*value));
            lacking.map(|(key, value)| Pair { key, value }).collect()
        };
        let lacking = lacks(kept);
        if lacking.is_empty() {
            return Ok(());
        }
        let run_id = kept.info.run_id.as_str();
        // A tenth of the tags that a request may have: eight kilobytes each, of up to four bytes a character.
        for tags in lacking.chunks(10) {
            let batch = LogBatch { run_id, tags: tags.to_vec(), ..LogBatch::default() };
            self.client.post::<Done>("runs/log-batch", &batch).await?;
        }
        match lacks(&self.get(run_id).await?).first() {
            None => Ok(()),
            Some(tag) => Err(CallError::refused(format!("MLflow did not keep the tag {} of run {run_id}.", tag.key))),
        }
    }
}
