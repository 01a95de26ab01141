//! `leadersboard submissions list`.

use clap::Args;
use serde_json::json;

use super::answer::{Submission, parse};
use crate::client::http::error::ClientError;
use crate::client::http::request::Client;
use crate::client::output::pages::{Listed, PageOptions};
use crate::client::output::print::{Output, print_json, print_text};
use crate::client::output::table::{Align, render};
use crate::client::output::{human, screen};

/// List submissions, newest first
#[derive(Debug, Args)]
pub(super) struct ListCommand {
    #[command(flatten)]
    pages: PageOptions,
}

impl ListCommand {
    pub(super) async fn run(&self, client: &Client, output: Output) -> Result<(), ClientError> {
        let Listed { entries, next_cursor, .. } = self.pages.collect(client, "/submissions", None).await?;
        match output {
            Output::Json => print_json(&json!({"submissions": entries, "next_cursor": next_cursor})),
            Output::Human => {
                if entries.is_empty() {
                    screen::note("no submissions");
                    return Ok(());
                }
                let submissions = entries.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
                print_text(&rows(&submissions))?;
                if next_cursor.is_some() {
                    screen::note("there are more: --limit N, or --all");
                }
                Ok(())
            }
        }
    }
}

pub(super) fn rows(submissions: &[Submission]) -> String {
    let columns = [
        ("SUBMISSION", Align::Left),
        ("USER", Align::Left),
        ("ENTRYPOINT", Align::Left),
        ("FILES", Align::Right),
        ("SIZE", Align::Right),
        ("CREATED", Align::Left),
    ];
    let row = |submission: &Submission| {
        [
            human::plain(&submission.submission_id),
            human::plain(&submission.user_id),
            human::line(&submission.entrypoint, 60),
            submission.file_count.to_string(),
            human::size(submission.bytes),
            human::ago(&submission.created_at),
        ]
    };
    render(columns, submissions.iter().map(row))
}
