//! `leadersboard`: the one binary. It reads configuration, wires the ports to the adapters, and runs what is asked.
#![expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]

mod client;
mod data_dir;
mod embedded;
mod open_files;
mod options;
mod roles;
mod shared_policy;
mod telemetry;
mod wiring;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use client::Output;
use nix::sys::stat::{Mode, umask};

/// Upload ML code and a config, run it on a GPU worker, watch its log, compare results.
#[derive(Debug, Parser)]
#[command(name = "leadersboard", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Print one JSON document instead of text
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Try it on one machine:
  leadersboard up                                      everything in one process, data in ./data
  leadersboard submit examples/quickstart --watch      from another shell

Each option can also be set by the environment variable beside it.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process: a private Redis, the API, a worker
    Up(Box<roles::up::UpCommand>),
    #[command(flatten)]
    Client(client::ClientCommand),
    /// Serve the API, with a shared Redis
    Api(Box<roles::api::ApiCommand>),
    /// Run jobs, with a shared Redis
    Worker(Box<roles::worker::WorkerCommand>),
    /// Update the key schema of a Redis to this version
    Migrate(Box<roles::migrate::MigrateCommand>),
    /// List dead letters, run them again, or delete them
    Dlq(roles::dlq::DlqCommand),
    /// List the workers: alive, draining, or silent
    Workers(roles::workers::WorkersCommand),
    /// Show or change the settings that all roles share
    Policy(Box<roles::policy::PolicyCommand>),
    /// Compare the read models with the log, or restore them from it
    Projections(roles::projections::ProjectionsCommand),
    /// Make a token for a user or an admin
    Token(roles::token::TokenCommand),
    /// Check Redis, storage, Python and MLflow, and name a fix for each problem
    Doctor(Box<roles::doctor::DoctorCommand>),
    /// Become the supervisor of a job's program
    #[command(name = worker::confinement::COMMAND, hide = true)]
    Sandbox,
    /// Become the private Redis of `up`
    #[command(name = embedded::GUARD_COMMAND, hide = true)]
    RedisGuard(embedded::guard::GuardCommand),
}

/// How long threads that still read or write files, or look up a host, may take at the end.
const LAST_THREADS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    #[cfg(feature = "faults")]
    let _failpoints = adapters::faults::setup();
    let cli = Cli::parse();
    keep_own_access();
    let output = if cli.json { Output::Json } else { Output::Human };
    // Before any thread is started: these become other programs.
    if let Command::Sandbox = cli.command {
        return worker::confinement::supervise();
    }
    if let Command::RedisGuard(guard) = cli.command {
        return guard.run();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return roles::fail(&anyhow::Error::new(error).context("the runtime can't be started")),
    };
    let code = runtime.block_on(async {
        let done = match cli.command {
            Command::Client(command) => return client::run(command, output).await,
            Command::Up(up) => up.run(output).await,
            Command::Api(api) => api.run(output).await,
            Command::Worker(worker) => Box::pin(worker.run(output)).await,
            Command::Migrate(migrate) => migrate.run(output).await,
            Command::Dlq(dlq) => dlq.run(output).await,
            Command::Workers(workers) => workers.run(output).await,
            Command::Policy(policy) => policy.run(output).await,
            Command::Projections(projections) => projections.run(output).await,
            Command::Token(token) => token.run(output),
            Command::Doctor(doctor) => doctor.run(output).await,
            Command::Sandbox | Command::RedisGuard(_) => unreachable!("it was run above"),
        };
        done.unwrap_or_else(|error| roles::fail(&error))
    });
    // A thread that hangs in a file system or waits for the name of a host must not keep the process.
    runtime.shutdown_timeout(LAST_THREADS);
    code
}

/// Lets this process enter and change what it makes, whatever umask it was started with.
fn keep_own_access() {
    let given = umask(Mode::from_bits_truncate(0o077));
    umask(given & Mode::from_bits_truncate(0o077));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn where_redis_is_may_be_told_on_both_sides_of_a_subcommand() {
        for line in [
            ["leadersboard", "dlq", "--data", "D", "list"],
            ["leadersboard", "dlq", "list", "--data", "D"],
            ["leadersboard", "projections", "--data", "D", "verify"],
            ["leadersboard", "projections", "verify", "--data", "D"],
            ["leadersboard", "policy", "--data", "D", "show"],
            ["leadersboard", "policy", "show", "--data", "D"],
        ] {
            let parsed = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let shown = format!("{parsed:?}");
            assert!(shown.contains("data: \"D\""), "{line:?}: {shown}");
        }
    }

    #[test]
    fn a_command_line_that_can_not_work_is_refused_with_what_can() {
        for (line, told) in [
            ("dlq replay", "<JOBS>..."),
            ("dlq replay --all --rate fast", "\"fast\" is no rate: give a number a second, such as 10/s"),
            ("dlq replay --all --rate 0/s", "is no rate"),
            ("dlq replay x --poison", "invalid value 'x'"),
            ("dlq list --since yesterday", "\"yesterday\" is no time: give 2h, 3d, or 2026-11-24T08:00:00Z"),
            ("dlq list --kind poison", "[possible values: worker_lost, infrastructure]"),
            ("dlq list --quarantine --user bob", "cannot be used with"),
            ("dlq purge --quarantine --limit 3", "cannot be used with"),
            ("policy set --concurrency-policy wait", "--concurrency-policy"),
            ("policy set --resource-classes small=1m:cores=2", "is none of memory, processes, output, log, gpus"),
            ("worker --sandbox loose", "--sandbox"),
            ("worker --network all", "none, loopback or host"),
            ("worker --disk-reserve much", "--disk-reserve"),
            ("api --listen nowhere", "--listen"),
            ("api --trusted-proxies 0.0.0.0/0", "is every address"),
            ("api --trusted-proxies nginx", "is no network"),
            ("api --public-url lb.example", "--public-url"),
            ("api --auth-failure-delay never", "--auth-failure-delay"),
            ("api --auth-failure-delay 1h", "it is longer than 30s"),
            ("token new a:b", "a user name is"),
            ("workers --namespace a/b", "--namespace"),
            ("projections", "verify"),
            ("submit", "<DIR>"),
            ("submit . --submission s1", "cannot be used with"),
            ("submit . --dry-run --watch", "cannot be used with"),
            ("submit . --metadata [1]", "metadata "),
            ("jobs show ../x", "an id is made of letters, digits, - and _"),
            ("jobs compare j1", "2 values required"),
            ("jobs logs j1 --attempt 0", "0 is not in 1.."),
            ("jobs logs j1 --attempt 2 --follow", "cannot be used with"),
            ("jobs list --limit 0", "a number from 1 up"),
            ("submissions list --all --limit 3", "cannot be used with"),
            ("board --csv --metrics", "cannot be used with"),
            ("board --param lr", "a param is given as name=value"),
        ] {
            let words = std::iter::once("leadersboard").chain(line.split(' '));
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(told), "{line}: {error}");
        }
    }
}
