//! `leadersboard submissions`: what was uploaded.

mod answer;
mod list;
mod show;

use clap::{Args, Subcommand};

use crate::client::http::connect::ConnectOptions;
use crate::client::http::error::ClientError;
use crate::client::http::model::parse_id;
use crate::client::output::print::{Outcome, Output};

const EXAMPLES: &str = "\
Examples:
  leadersboard submissions list
  leadersboard submissions show ID
  leadersboard submit --submission ID        run it once more
  leadersboard submissions show ID --json | jq .metadata";

/// List and show submissions
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmissionsCommand {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    connect: ConnectOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List submissions, newest first
    List(list::ListCommand),
    /// Show one submission: its files and its metadata
    Show {
        /// The submission's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        submission_id: String,
    },
}

impl SubmissionsCommand {
    pub(super) async fn run(self, output: Output) -> Result<Outcome, ClientError> {
        let client = self.connect.client()?;
        match self.action {
            Action::List(command) => command.run(&client, output).await?,
            Action::Show { submission_id } => show::run(&client, &submission_id, output).await?,
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests;
