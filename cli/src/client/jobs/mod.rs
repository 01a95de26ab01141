//! `leadersboard jobs`: look at jobs, follow them, read their logs, fetch what they left, cancel them.

mod artifacts;
mod compare;
mod curves;
mod download;
mod history;
mod list;
mod logs;
pub(super) mod report;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::watch::{Server, follow};
use crate::client::http::begun::Begun;
use crate::client::http::connect::ConnectOptions;
use crate::client::http::error::ClientError;
use crate::client::http::interrupt::Interrupt;
use crate::client::http::model::{parse_id, parse_job};
use crate::client::http::request::Client;
use crate::client::output::print::{Outcome, Output, print_document, print_json, print_text};
use crate::client::output::screen;

const EXAMPLES: &str = "\
Examples:
  leadersboard jobs list --status running
  leadersboard jobs show ID
  leadersboard jobs compare ID ID
  leadersboard jobs logs ID --tail 20 --follow
  leadersboard jobs watch ID
  leadersboard jobs history ID
  leadersboard jobs curves ID
  leadersboard jobs download ID
  leadersboard jobs cancel ID
  leadersboard jobs show ID --json | jq .metrics";

const WATCH_EXIT_CODES: &str = "\
Exit codes:
  0    the job completed
  1    the job failed or was cancelled
  2    bad input, or refused by the server
  3    the server could not be reached, or was away for five minutes
  130  Ctrl-C; the job goes on";

/// List, follow, compare or cancel jobs, and read their logs and files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct JobsCommand {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    connect: ConnectOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs, newest first, with the reason why they failed or wait
    List(list::ListCommand),
    /// Show one job: status, position in the queue and its reason, progress, failure, metrics
    Show {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// Compare jobs side by side; marks params that differ
    Compare(compare::CompareCommand),
    /// Print a job's log
    Logs(logs::LogsCommand),
    /// Follow a job's status and log to its end; the exit code is the outcome
    #[command(after_help = WATCH_EXIT_CODES)]
    Watch {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// Show a job's history, event by event
    #[command(visible_alias = "events")]
    History {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// Show a job's curves: the metrics that it reported, and its use of the machine
    Curves {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// List the files that a job left
    Artifacts {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// Download the files that a job left
    Download(download::DownloadCommand),
    /// Cancel a pending or running job
    Cancel {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
        /// Cancel at once, without waiting for the worker
        #[arg(long)]
        force: bool,
    },
}

impl JobsCommand {
    pub(super) async fn run(self, output: Output, interrupt: &Interrupt) -> Result<Outcome, ClientError> {
        let client = self.connect.client()?;
        match self.action {
            Action::List(command) => command.run(&client, output).await?,
            Action::Show { job_id } => show(&client, &job_id, output).await?,
            Action::Compare(command) => command.run(&client, output).await?,
            Action::Logs(command) => command.run(&client, output, interrupt).await?,
            Action::Watch { job_id } => {
                interrupt.begin(Begun::Job(job_id.clone()))?;
                return follow(&client, &job_id, output, Server::Unknown).await;
            }
            Action::History { job_id } => history::run(&client, &job_id, output).await?,
            Action::Curves { job_id } => curves::run(&client, &job_id, output).await?,
            Action::Artifacts { job_id } => artifacts::run(&client, &job_id, output).await?,
            Action::Download(command) => command.run(&client, output).await?,
            Action::Cancel { job_id, force } => {
                // The body is left empty where nothing is asked for, as the server's own default.
                let body = if force { json!({"force": true}) } else { json!({}) };
                cancel(&client, &job_id, &body, output).await?;
            }
        }
        Ok(Outcome::Done)
    }
}

async fn show(client: &Client, job_id: &str, output: Output) -> Result<(), ClientError> {
    let document = client.document(&format!("/jobs/{job_id}"), &[]).await?;
    match output {
        Output::Json => print_document(&document),
        Output::Human => print_text(&report::whole(&parse_job(&document.value)?)),
    }
}

async fn cancel(client: &Client, job_id: &str, body: &Value, output: Output) -> Result<(), ClientError> {
    let document: Value = client.post(&format!("/jobs/{job_id}/cancel"), body).await?;
    match output {
        Output::Json => print_json(&document),
        Output::Human => {
            screen::note(&cancelled(&document, job_id));
            Ok(())
        }
    }
}

/// A job that has not begun is cancelled at once.
fn cancelled(document: &Value, job_id: &str) -> String {
    match document["status"].as_str() {
        Some("cancelled") => "cancelled".to_owned(),
        _ => format!("asked for; see how it ends: leadersboard jobs show {job_id}"),
    }
}

#[cfg(test)]
mod tests;
