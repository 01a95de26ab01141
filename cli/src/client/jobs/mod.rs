//! `leadersboard jobs`: look at jobs, read their logs, cancel them.

mod events;
mod list;
mod logs;
pub(super) mod report;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::connect::ConnectOptions;
use super::error::ClientError;
use super::http::Client;
use super::model::parse_id;
use super::watch::parse_job;
use super::{Outcome, Output, print_json, print_text, screen};

const EXAMPLES: &str = "\
Examples:
  leadersboard jobs list --status running
  leadersboard jobs show ID
  leadersboard jobs logs ID --tail 20 --follow
  leadersboard jobs events ID
  leadersboard jobs cancel ID
  leadersboard jobs show ID --json | jq .metrics";

/// Look at jobs and their logs, or cancel one
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
    /// List jobs, newest first, with why they failed or what they wait for
    List(list::ListCommand),
    /// Show all of one job: state, place in the queue and why it waits, failure, metrics
    Show {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// Print a job's log
    Logs(logs::LogsCommand),
    /// Show a job's history, event by event
    Events {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
    },
    /// Cancel a job that waits or runs
    Cancel {
        /// The job's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        job_id: String,
        /// End the run at once, without waiting for its worker
        #[arg(long)]
        force: bool,
    },
}

impl JobsCommand {
    pub(super) async fn run(self, output: Output) -> Result<Outcome, ClientError> {
        let client = self.connect.client()?;
        match self.action {
            Action::List(command) => command.run(&client, output).await?,
            Action::Show { job_id } => show(&client, &job_id, output).await?,
            Action::Logs(command) => command.run(&client, output).await?,
            Action::Events { job_id } => events::run(&client, &job_id, output).await?,
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
    let document: Value = client.get(&format!("/jobs/{job_id}"), &[]).await?;
    match output {
        Output::Json => print_json(&document),
        Output::Human => print_text(&report::whole(&parse_job(&document)?)),
    }
}

async fn cancel(client: &Client, job_id: &str, body: &Value, output: Output) -> Result<(), ClientError> {
    let document: Value = client.post(&format!("/jobs/{job_id}/cancel"), body).await?;
    match output {
        Output::Json => print_json(&document),
        Output::Human => {
            screen::note(&format!("asked for; see how it ends: leadersboard jobs show {job_id}"));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
