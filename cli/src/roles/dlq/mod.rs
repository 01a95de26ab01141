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
use crate::options::shared::RedisOptions;
use crate::wiring::connect;

/// Look at dead letters, run them again, or remove them.
#[derive(Debug, Args)]
#[command(after_help = "\
A dead letter is a job that the platform gave up: it lost three workers (kind worker_lost, which may be
poison), or the platform failed it more often than MAX_RETRIES (kind infrastructure). A job that failed
through a fault of its own is none.")]
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
    /// Show why one was given up
    Show(show::Show),
    /// Run dead letters again, with all their tries anew
    Replay(Box<replay::Replay>),
    /// Remove dead letters with their logs, or the tickets in quarantine
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
