//! `leadersboard jobs logs`.

use clap::Args;
use serde_json::{Value, json};

use crate::client::http::begun::Begun;
use crate::client::http::error::ClientError;
use crate::client::http::interrupt::Interrupt;
use crate::client::http::model::{LogChunk, parse_id, parse_job};
use crate::client::http::request::Client;
use crate::client::output::print::{Output, print_json};
use crate::client::output::screen;
use crate::client::output::screen::{LogView, Screen};
use crate::client::output::settled::Settled;
use crate::client::output::standing::describe;
use crate::client::watch::log_cursor::LogCursor;
use crate::client::watch::{Server, Watch};
use crate::value;

/// Print a job's log
#[derive(Debug, Args)]
pub(super) struct LogsCommand {
    /// The job's id
    #[arg(value_name = "ID", value_parser = parse_id)]
    job_id: String,

    /// Follow the log until the job ends
    #[arg(long, short)]
    follow: bool,

    /// Begin with the last N lines
    #[arg(long, short = 'n', value_name = "N", value_parser = value::count::<u32>)]
    tail: Option<u32>,

    /// The attempt [default: the newest]
    #[arg(long, value_name = "N", conflicts_with_all = ["follow", "tail"], value_parser = value::positive::<u32>)]
    attempt: Option<u32>,

    /// Show the log as it was printed, with escape sequences (they can control your terminal) and rewritten lines
    #[arg(long)]
    raw: bool,
}

impl LogsCommand {
    pub(super) async fn run(&self, client: &Client, output: Output, interrupt: &Interrupt) -> Result<(), ClientError> {
        let mut screen = Screen::new(Output::Human, self.view());
        if self.follow {
            interrupt.begin(Begun::Job(self.job_id.clone()))?;
            return self.follow(client, output).await;
        }
        if let (Some(tail), Output::Human) = (self.tail, output) {
            let chunk = self.tail_chunk(client, tail).await?;
            return screen.log(chunk.attempt, &chunk.logs);
        }
        let mut text = String::new();
        let mut settled = Settled::default();
        let mut last = match self.tail {
            Some(tail) => self.tail_chunk(client, tail).await?,
            None => self.first_chunk(client).await?,
        };
        let begin = last.offset;
        loop {
            match output {
                Output::Human => screen.log(last.attempt, &last.logs)?,
                Output::Json if self.raw => text.push_str(&last.logs),
                Output::Json => text.push_str(&settled.take(&last.logs)),
            }
            // An empty piece is the end for now; what is written meanwhile belongs to --follow.
            if self.tail.is_some() || last.complete || last.next_offset <= last.offset {
                break;
            }
            last = self.chunk(client, last.attempt, last.next_offset).await?;
        }
        text.push_str(&settled.finish());
        match output {
            Output::Human => Ok(()),
            Output::Json => print_json(&json!({
                "job_id": self.job_id, "attempt": last.attempt, "offset": begin,
                "next_offset": last.next_offset, "logs": text, "complete": last.complete,
            })),
        }
    }

    /// From the first attempt on, or from the last lines, to the job's end. A program gets the job itself
    /// at the end, as with `submit --watch --json`.
    async fn follow(&self, client: &Client, output: Output) -> Result<(), ClientError> {
        let mut screen = Screen::new(output, self.view());
        let (from, server) = match self.tail {
            None => (LogCursor::start(), Server::Unknown),
            Some(tail) => {
                let chunk = self.tail_chunk(client, tail).await?;
                screen.log(chunk.attempt, &chunk.logs)?;
                (LogCursor::after(&chunk), Server::Answered)
            }
        };
        let document = Watch::new(client, &self.job_id, &mut screen, from, server).until_end().await?;
        match output {
            Output::Json => print_json(&document),
            Output::Human => {
                let job = parse_job(&document)?;
                let why =
                    job.why().map(|why| format!(": {}", crate::client::output::human::plain(why))).unwrap_or_default();
                screen::note(&format!("{}{why}", describe(&job)));
                Ok(())
            }
        }
    }

    async fn first_chunk(&self, client: &Client) -> Result<LogChunk, ClientError> {
        let attempt = if let Some(attempt) = self.attempt {
            attempt
        } else {
            let job: Value = client.get(&format!("/jobs/{}", self.job_id), &[]).await?;
            parse_job(&job)?.attempt()
        };
        if attempt == 0 {
            screen::note("the job has not started yet: no log");
            return Ok(LogChunk { attempt, offset: 0, next_offset: 0, logs: String::new(), complete: false });
        }
        self.chunk(client, attempt, 0).await
    }

    async fn chunk(&self, client: &Client, attempt: u32, offset: u64) -> Result<LogChunk, ClientError> {
        self.get(client, vec![("attempt", attempt.to_string()), ("offset", offset.to_string())]).await
    }

    async fn tail_chunk(&self, client: &Client, lines: u32) -> Result<LogChunk, ClientError> {
        self.get(client, vec![("tail_lines", lines.to_string())]).await
    }

    async fn get(&self, client: &Client, mut query: Vec<(&str, String)>) -> Result<LogChunk, ClientError> {
        query.extend(self.raw.then(|| ("raw", "true".to_owned())));
        client.get(&format!("/jobs/{}/logs", self.job_id), &query).await
    }

    fn view(&self) -> LogView {
        if self.raw { LogView::Raw } else { LogView::Safe }
    }
}
