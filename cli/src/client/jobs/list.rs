//! `leadersboard jobs list`.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::client::http::error::ClientError;
use crate::client::http::model::{Job, parse_job};
use crate::client::http::request::Client;
use crate::client::output::pages::{Listed, PageOptions};
use crate::client::output::print::{Output, print_json, print_text};
use crate::client::output::standing::waiting_for;
use crate::client::output::table::{Align, render};
use crate::client::output::{human, screen};

/// Room for an error, or what a job waits for, beside the other columns.
const MAX_DETAIL_CHARS: usize = 100;

/// List jobs, newest first
#[derive(Debug, Args)]
pub(super) struct ListCommand {
    /// Only jobs in this state
    #[arg(long, value_name = "STATUS")]
    status: Option<StatusArg>,

    #[command(flatten)]
    pages: PageOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StatusArg {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl StatusArg {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ListCommand {
    pub(super) async fn run(&self, client: &Client, output: Output) -> Result<(), ClientError> {
        let status = self.status.map(|status| ("status", status.name().to_owned()));
        let Listed { entries: jobs, next_cursor, .. } = self.pages.collect(client, "/jobs", status).await?;
        match output {
            Output::Json => print_json(&json!({"jobs": jobs, "next_cursor": next_cursor})),
            Output::Human => {
                let jobs = jobs.iter().map(parse_job).collect::<Result<Vec<_>, _>>()?;
                if jobs.is_empty() {
                    screen::note("no jobs");
                    return Ok(());
                }
                print_text(&rows(&jobs))?;
                if next_cursor.is_some() {
                    screen::note("there are more: --limit N, or --all");
                }
                Ok(())
            }
        }
    }
}

/// The table; whose a job is stands there only where there is more than one user.
pub(super) fn rows(jobs: &[Job]) -> String {
    let class = |job: &Job| human::plain(job.resource_class.as_deref().unwrap_or_default());
    let details = |job: &Job| {
        let text = job.why().map_or_else(|| waiting_for(job).join(", "), str::to_owned);
        human::line(&text, MAX_DETAIL_CHARS)
    };
    let attempt = |job: &Job| match job.attempt() {
        0 => String::new(),
        attempt => attempt.to_string(),
    };
    let (id, status, created) = (("JOB", Align::Left), ("STATUS", Align::Left), ("CREATED", Align::Left));
    let (class_column, attempt_column) = (("CLASS", Align::Left), ("ATTEMPT", Align::Right));
    let detail_column = ("DETAILS", Align::Left);
    if jobs.iter().any(|job| job.user_id != jobs[0].user_id) {
        let row = |job: &Job| {
            let user = human::plain(&job.user_id);
            let when = human::ago(&job.created_at);
            [human::plain(&job.job_id), user, job.status.name().into(), class(job), attempt(job), when, details(job)]
        };
        let columns = [id, ("USER", Align::Left), status, class_column, attempt_column, created, detail_column];
        return render(columns, jobs.iter().map(row));
    }
    let row = |job: &Job| {
        let when = human::ago(&job.created_at);
        [human::plain(&job.job_id), job.status.name().into(), class(job), attempt(job), when, details(job)]
    };
    render([id, status, class_column, attempt_column, created, detail_column], jobs.iter().map(row))
}
