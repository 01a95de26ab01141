//! `leadersboard jobs download`.

mod folder;

use std::path::PathBuf;

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tokio::time::sleep;

use super::artifacts::{Listing, fetch, parse};
use crate::client::http::error::ClientError;
use crate::client::http::model::parse_id;
use crate::client::http::pace::retry_delay;
use crate::client::http::request::Client;
use crate::client::output::print::{Output, print_json};
use crate::client::output::{human, screen};

use folder::{Folder, Partial, Place};

/// How many files are fetched at once: a small one is mostly a wait for its answer.
const AT_ONCE: usize = 4;
/// How often a file is asked for again whose transfer broke, without a byte having come.
const RETRIES: u32 = 4;
/// What stands for itself in the path of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

const EXAMPLES: &str = "\
Examples:
  leadersboard jobs download ID                         all files, into a folder named ID
  leadersboard jobs download ID visualizations --to .   one folder
  leadersboard jobs download ID model.pt                one file; run it again to resume";

/// Download the files that a job left
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DownloadCommand {
    /// The job's id
    #[arg(value_name = "ID", value_parser = parse_id)]
    job_id: String,

    /// Only these files and folders [default: all]
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    /// Target folder [default: a folder named after the job]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,

    /// Replace existing files that differ
    #[arg(long)]
    force: bool,
}

impl DownloadCommand {
    pub(super) async fn run(&self, client: &Client, output: Output) -> Result<(), ClientError> {
        let listed = parse(&fetch(client, &self.job_id).await?.value)?;
        let wanted = self.select(listed.artifacts)?;
        let to = self.to.clone().unwrap_or_else(|| PathBuf::from(&self.job_id));
        let folder = Folder::open(&to)?;
        let missing = self.missing(&folder, &wanted)?;
        let bar = screen::byte_bar("receiving", missing.iter().map(|file| file.bytes).sum());
        let fetched = stream::iter(&missing).map(|file| self.fetch(client, &folder, file, &bar));
        let done = fetched.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await;
        drop(bar);
        done?;
        let (count, bytes) = (missing.len(), missing.iter().map(|file| file.bytes).sum());
        match output {
            Output::Json => print_json(&json!({
                "job_id": self.job_id, "to": to, "downloaded": count, "present": wanted.len() - count, "bytes": bytes,
                "files": wanted.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            })),
            Output::Human => {
                let present = wanted.len() - count;
                let present = if present > 0 { format!("; {present} already there") } else { String::new() };
                let files = human::counted(count as u64, "file");
                screen::note(&format!("{files}, {}, in {}{present}", human::size(bytes), to.display()));
                Ok(())
            }
        }
    }

    /// The files that were asked for.
    fn select(&self, files: Vec<Listing>) -> Result<Vec<Listing>, ClientError> {
        let asked: Vec<&str> = self.paths.iter().map(|path| path.trim_end_matches('/')).collect();
        if let Some(nothing) = asked.iter().find(|path| !files.iter().any(|file| file.path.is_within(path))) {
            return Err(ClientError::usage(format!(
                "the job has left no {nothing:?}; see what it left: leadersboard jobs artifacts {}",
                self.job_id
            )));
        }
        let is_asked = |file: &Listing| asked.is_empty() || asked.iter().any(|path| file.path.is_within(path));
        Ok(files.into_iter().filter(is_asked).collect())
    }

    /// Those that are not there yet.
    fn missing(&self, folder: &Folder, wanted: &[Listing]) -> Result<Vec<Listing>, ClientError> {
        let mut missing = Vec::new();
        for file in wanted {
            match folder.look(file)? {
                Place::Same => {}
                Place::Free => missing.push(file.clone()),
                Place::Other if self.force => missing.push(file.clone()),
                Place::Other => {
                    return Err(ClientError::usage(format!(
                        "{} is there already and differs: --force replaces it, --to DIR leaves it alone.",
                        folder.shown(&file.path)
                    )));
                }
            }
        }
        Ok(missing)
    }

    /// Fetches one file, and goes on where a transfer broke, now or at an earlier call.
    async fn fetch(
        &self,
        client: &Client,
        folder: &Folder,
        file: &Listing,
        bar: &ProgressBar,
    ) -> Result<(), ClientError> {
        let mut partial = folder.partial(file)?;
        bar.inc(partial.bytes);
        let mut tries = 0;
        while partial.bytes < file.bytes {
            let before = partial.bytes;
            match self.transfer(client, file, &mut partial, bar).await {
                Ok(()) => break,
                Err(error @ ClientError::Away { .. }) => {
                    tries = if partial.bytes > before { 0 } else { tries + 1 };
                    if tries > RETRIES {
                        return Err(
                            error.with_advice("The bytes received are kept: run the same command again to continue.")
                        );
                    }
                    sleep(retry_delay(tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
        folder.finish(partial, file, self.force)
    }

    async fn transfer(
        &self,
        client: &Client,
        file: &Listing,
        partial: &mut Partial,
        bar: &ProgressBar,
    ) -> Result<(), ClientError> {
        let path = utf8_percent_encode(file.path.as_str(), PLAIN);
        let path = format!("/jobs/{}/artifacts/{path}", self.job_id);
        let mut body = client.download(&path, partial.bytes, &format!("\"{}\"", file.sha256)).await?;
        if !body.is_rest && partial.bytes > 0 {
            bar.set_position(bar.position().saturating_sub(partial.bytes));
            partial.start_over()?;
        }
        while let Some(chunk) = body.next().await? {
            partial.write(&chunk, file)?;
            bar.inc(chunk.len() as u64);
        }
        if partial.bytes < file.bytes {
            return Err(ClientError::Away { sentence: "the transfer broke off.".to_owned(), retry_after: None });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
