//! `leadersboard dlq`: the jobs that the platform gave up, and what to do with them.

mod list;
mod purge;
mod replay;
mod select;
mod show;

use std::process::ExitCode;

use adapters::redis::Redis;
use anyhow::Result;
use clap::{Args, Subcommand};

use crate::client::Output;
use crate::options::redis::RedisOptions;
use crate::wiring::connect;

/// List dead letters, run them again, or delete them.
#[derive(Debug, Args)]
#[command(after_help = "\
A dead letter is a job that the platform gave up: it lost three workers (kind worker_lost, perhaps a poison job), \
or the platform failed it more often than MAX_RETRIES (kind infrastructure). A job that failed by its own fault is \
not a dead letter.")]
pub(crate) struct DlqCommand {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List dead letters, newest first
    List(list::List),
    /// Show why the platform gave up a job
    Show(show::Show),
    /// Run dead letters again, with all retries
    Replay(Box<replay::Replay>),
    /// Delete dead letters with their logs, or the entries in quarantine
    Purge(Box<purge::Purge>),
}

impl DlqCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let redis: Redis = connect(&self.redis).await?;
        match self.what {
            What::List(list) => list.run(&redis, output).await,
            What::Show(show) => show.run(&redis, output).await,
            What::Replay(replay) => replay.run(&redis, output).await,
            What::Purge(purge) => purge.run(&redis, &self.redis.data, output).await,
        }
    }
}
