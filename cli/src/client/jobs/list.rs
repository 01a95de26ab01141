//! `leadersboard jobs list`.

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::error::ClientError;
use crate::client::http::Client;
use crate::client::model::Job;
use crate::client::watch::parse_job;
use crate::client::{Output, human, print_json, print_text, screen};
use crate::table::{Align, render};

/// As many as one request asks for.
const PAGE: usize = 100;
/// Room for an error beside the other columns.
const MAX_ERROR_CHARS: usize = 60;

/// List jobs, newest first
#[derive(Debug, Args)]
pub(super) struct ListCommand {
    /// Only jobs in this state
    #[arg(long, value_name = "STATUS")]
    status: Option<StatusArg>,

    /// Only this user's jobs (for administrators; others see their own)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// As many as this
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = parse_limit)]
    limit: usize,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 up".to_owned()),
        Ok(limit) => Ok(limit),
    }
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

#[derive(Deserialize)]
struct Page {
    jobs: Vec<Value>,
    next_cursor: Option<String>,
}

impl ListCommand {
    pub(super) async fn run(&self, client: &Client, output: Output) -> Result<(), ClientError> {
        let limit = if self.all { usize::MAX } else { self.limit };
        let Page { jobs, next_cursor } = self.collect(client, limit).await?;
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

    /// Follows the cursor: a page may be short, or even empty, and still not be the last.
    async fn collect(&self, client: &Client, limit: usize) -> Result<Page, ClientError> {
        let mut jobs = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE.min(limit - jobs.len()).to_string())];
            query.extend(self.status.map(|status| ("status", status.name().to_owned())));
            query.extend(self.user.clone().map(|user| ("user", user)));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page = client.get("/jobs", &query).await?;
            jobs.extend(page.jobs);
            jobs.truncate(limit);
            if page.next_cursor.is_none() || jobs.len() >= limit {
                return Ok(Page { jobs, next_cursor: page.next_cursor });
            }
            cursor = page.next_cursor;
        }
    }
}

/// The table; whose a job is stands there only where there is more than one user.
fn rows(jobs: &[Job]) -> String {
    let class = |job: &Job| human::plain(job.resource_class.as_deref().unwrap_or_default());
    let error = |job: &Job| human::line(job.why().unwrap_or_default(), MAX_ERROR_CHARS);
    let attempt = |job: &Job| match job.attempt() {
        0 => String::new(),
        attempt => attempt.to_string(),
    };
    let (id, status, created) = (("JOB", Align::Left), ("STATUS", Align::Left), ("CREATED", Align::Left));
    let (class_column, attempt_column) = (("CLASS", Align::Left), ("ATTEMPT", Align::Right));
    let error_column = ("ERROR", Align::Left);
    if jobs.iter().any(|job| job.user_id != jobs[0].user_id) {
        let row = |job: &Job| {
            let user = human::plain(&job.user_id);
            let when = human::ago(&job.created_at);
            [human::plain(&job.job_id), user, job.status.name().into(), class(job), attempt(job), when, error(job)]
        };
        let columns = [id, ("USER", Align::Left), status, class_column, attempt_column, created, error_column];
        return render(columns, jobs.iter().map(row));
    }
    let row = |job: &Job| {
        let when = human::ago(&job.created_at);
        [human::plain(&job.job_id), job.status.name().into(), class(job), attempt(job), when, error(job)]
    };
    render([id, status, class_column, attempt_column, created, error_column], jobs.iter().map(row))
}
