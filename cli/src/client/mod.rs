//! The commands for users: they speak HTTP to a server and know nothing of what stands behind it.

mod board;
mod document;
mod file;
pub(crate) mod http;
mod jobs;
mod me;
pub(crate) mod output;
mod submissions;
mod submit;
mod trust;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use file::ClientFile;
pub(crate) use output::print::{Output, escape_c1};

use http::interrupt::Interrupt;
use output::human;
use output::print::Outcome;

/// What a researcher does from a shell.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Send a folder and run it as a job
    Submit(Box<submit::SubmitCommand>),
    /// List, follow, compare or cancel jobs, and read their logs and files
    Jobs(jobs::JobsCommand),
    /// List and show submissions
    Submissions(submissions::SubmissionsCommand),
    /// Show the leaderboard: the best job of each user
    Board(Box<board::BoardCommand>),
    /// Show your user name, your limits, and what is left of them
    Me(me::MeCommand),
}

/// Runs one command to its end and says how it went: 0 done (a watched job completed), 1 the watched
/// job failed or was cancelled, 2 bad input or refused, 3 no answer to be had, 130 interrupted.
pub(crate) async fn run(command: ClientCommand, output: Output) -> ExitCode {
    let interrupt = Interrupt::new();
    let work = async {
        match command {
            ClientCommand::Submit(submit) => submit.run(output, &interrupt).await,
            ClientCommand::Jobs(jobs) => jobs.run(output, &interrupt).await,
            ClientCommand::Submissions(submissions) => submissions.run(output).await,
            ClientCommand::Board(board) => board.run(output).await,
            ClientCommand::Me(me) => me.run(output).await,
        }
    };
    match interrupt.end(work).await {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::JobFailed) => ExitCode::from(1),
        Err(error) => {
            if let Some(sentence) = error.sentence() {
                // Nothing is left to tell a user whose stderr is gone.
                let _ = writeln!(io::stderr(), "{}", human::plain(&sentence));
            }
            error.exit_code()
        }
    }
}
