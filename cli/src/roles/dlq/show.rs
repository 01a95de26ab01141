//! `leadersboard dlq show`.

use std::process::ExitCode;

use adapters::redis::Redis;
use anyhow::{Result, bail};
use clap::Args;
use events::JobId;
use events::ports::{EventLogPort, HistoryEntry, JobStatusPort};
use serde_json::{Value, json};

use super::list::document;
use crate::client::Output;
use crate::client::output::human;
use crate::client::output::table::{Align, render};
use crate::roles::answer;

/// Room for an event's data.
const MAX_DATA_CHARS: usize = 120;

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The job's id
    #[arg(value_name = "ID")]
    job: JobId,
}

impl Show {
    pub(super) async fn run(self, redis: &Redis, output: Output) -> Result<ExitCode> {
        let Some(job) = redis.job(self.job).await? else { bail!("there is no job {}", self.job) };
        let history = redis.history(self.job, 0).await?;
        let mut shown = document(&job);
        shown["status"] = json!(job.status());
        shown["events"] = history.iter().map(document_of_event).collect();
        answer(output, &text(&shown, &history), &shown)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn document_of_event(entry: &HistoryEntry) -> Value {
    let data: Value = serde_json::from_str(&entry.event.data).unwrap_or_default();
    json!({ "seq": entry.event.seq, "at": entry.event.at, "type": entry.event.kind, "data": data })
}

fn text(shown: &Value, history: &[HistoryEntry]) -> String {
    let field = |name: &str| human::value(&shown[name]);
    let columns =
        [("SEQ", Align::Right), ("TIME (UTC)", Align::Left), ("EVENT", Align::Left), ("DETAILS", Align::Left)];
    let rows = history.iter().map(|entry| {
        let event = &entry.event;
        let data = human::line(&event.data, MAX_DATA_CHARS);
        [event.seq.to_string(), human::time(&event.at), human::plain(&event.kind), data]
    });
    format!(
        "job     {}\nuser    {}\nstatus  {}\nkind    {}\nwhy     {}\n\n{}",
        field("job_id"),
        field("user"),
        field("status"),
        field("kind"),
        field("error"),
        render(columns, rows)
    )
}
