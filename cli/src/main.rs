//! `leadersboard`: the one binary. It reads configuration, wires the ports to the adapters, and runs what is asked.
#![expect(clippy::disallowed_methods, reason = "this is where the environment is read, once")]

mod bad_usage;
mod board_files;
mod client;
mod data_dir;
mod embedded;
mod memory;
mod open_files;
mod options;
mod roles;
mod shared_policy;
mod telemetry;
mod value;
mod wiring;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
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

An option that shows [env: NAME] can also be set by the environment variable NAME.

Exit codes:
  0    success
  1    a failure; of a watched job: it failed or was cancelled
  2    bad usage, or refused by the server
  3    the server could not be reached
  130  Ctrl-C";

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
    /// Move a board's files between folders and S3
    Storage(roles::storage::StorageCommand),
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
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
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
            Command::Storage(storage) => storage.run(output).await,
            Command::Doctor(doctor) => doctor.run(output).await,
            Command::Sandbox | Command::RedisGuard(_) => unreachable!("it was run above"),
        };
        done.unwrap_or_else(|error| roles::fail(&error))
    });
    // A thread that hangs in a file system or waits for the name of a host must not keep the process.
    runtime.shutdown_timeout(LAST_THREADS);
    code
}

/// The command line. Each option takes `-3` for a value, so that the refusal of a negative number says what is allowed.
fn command() -> clap::Command {
    fn with_negative_numbers(command: clap::Command) -> clap::Command {
        let take =
            |arg: clap::Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
        command.mut_args(take).mut_subcommands(with_negative_numbers)
    }
    with_negative_numbers(Cli::command())
}

/// Lets this process enter and change what it makes, whatever umask it was started with.
fn keep_own_access() {
    let given = umask(Mode::from_bits_truncate(0o077));
    umask(given & Mode::from_bits_truncate(0o077));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// All commands with their paths.
    fn all(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let path = format!("{path} {}", command.get_name());
        let below =
            command.get_subcommands().filter(|command| !command.is_hide_set()).flat_map(|command| all(command, &path));
        below.chain([(path.clone(), command.clone())]).collect()
    }

    /// A source line that ends in the middle of a sentence would end a line of the help there too.
    #[test]
    fn no_sentence_of_the_help_is_broken_by_hand_and_no_example_by_the_terminal() {
        for (path, command) in all(&command(), "") {
            let mut texts: Vec<String> = [command.get_about(), command.get_long_about(), command.get_after_help()]
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect();
            let helps = command.get_arguments().flat_map(|arg| [arg.get_help(), arg.get_long_help()]);
            texts.extend(helps.flatten().map(ToString::to_string));
            for text in texts {
                let lines: Vec<&str> = text.lines().chain([""]).collect();
                for pair in lines.windows(2) {
                    let (line, next) = (pair[0], pair[1]);
                    let is_sentence = |line: &str| !line.is_empty() && !line.starts_with(' ');
                    assert!(
                        !is_sentence(line) || !is_sentence(next) || line.ends_with(['.', ':']),
                        "{path}: {line:?} goes on in {next:?}: end the source line with a backslash"
                    );
                    assert!(is_sentence(line) || line.chars().count() <= 100, "{path}: {line:?} is too long");
                }
            }
        }
    }

    #[test]
    fn an_option_has_the_same_kind_of_value_everywhere() {
        let mut known: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (path, command) in all(&command(), "") {
            // Where `--to` leads is another matter for each command.
            let has_kind = |arg: &&clap::Arg| arg.get_action().takes_values() && arg.get_long() != Some("to");
            for arg in command.get_arguments().filter(has_kind) {
                let shown = arg.get_value_names().unwrap_or_default().join(" ");
                let Some(long) = arg.get_long() else {
                    assert!(
                        !arg.get_id().as_str().contains("job") || shown == "ID",
                        "{path}: a job is an ID, not {shown}"
                    );
                    continue;
                };
                let (first, name) =
                    known.entry(long.to_owned()).or_insert_with(|| (path.clone(), shown.clone())).clone();
                assert_eq!(name, shown, "--{long} of {first} and of {path}");
            }
        }
    }

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
            ("dlq replay", "<ID>..."),
            ("dlq replay --all --rate fast", "\"fast\" is no rate: give a number a second, such as 10/s"),
            ("dlq replay --all --rate 0/s", "is no rate"),
            ("dlq replay x --poison", "invalid value 'x'"),
            (
                "dlq list --since yesterday",
                "\"yesterday\" is no time: give 2h, 3d, 2026-11-24, or 2026-11-24T08:00:00Z",
            ),
            ("dlq list --kind poison", "[possible values: worker_lost, infrastructure]"),
            ("dlq list --quarantine --user bob", "cannot be used with"),
            ("dlq purge --quarantine --limit 3", "cannot be used with"),
            ("policy set --concurrency-policy wait", "--concurrency-policy"),
            ("policy set --resource-classes small=1m:cores=2", "is none of memory, processes, output, log, gpus"),
            ("worker --sandbox loose", "--sandbox"),
            ("worker --network all", "none, loopback or host"),
            ("worker --disk-reserve much", "--disk-reserve"),
            ("api --listen 18915", "\"18915\" is no address, such as 127.0.0.1:8010"),
            ("api --trusted-proxies 0.0.0.0/0", "is every address"),
            ("api --trusted-proxies nginx", "is no network"),
            ("api --public-url lb.example", "--public-url"),
            ("api --auth-failure-delay never", "--auth-failure-delay"),
            ("api --auth-failure-delay 1h", "it is longer than 30s"),
            ("token new a:b", "a name is 1 to 64 characters"),
            ("workers --namespace a/b", "--namespace"),
            ("projections", "verify"),
            ("submit", "<DIR>"),
            ("submit . --submission 0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "cannot be used with"),
            ("submit . --dry-run --watch", "cannot be used with"),
            ("submit . --metadata [1]", "metadata "),
            ("jobs show ../x", "an id is 32 lower-case hexadecimal digits"),
            ("submissions show 7", "an id is 32 lower-case hexadecimal digits"),
            ("jobs compare 0192f1c3a4b57c6d8e9fa0b1c2d3e4f5", "2 values required"),
            ("jobs logs 0192f1c3a4b57c6d8e9fa0b1c2d3e4f5 --attempt 0", "\"0\" is no whole number from 1 up"),
            ("jobs logs 0192f1c3a4b57c6d8e9fa0b1c2d3e4f5 --attempt 2 --follow", "cannot be used with"),
            ("jobs logs 0192f1c3a4b57c6d8e9fa0b1c2d3e4f5 --tail -3", "\"-3\" is no whole number from 0 up"),
            ("board -n -1", "\"-1\" is no whole number from 1 up"),
            ("board --since yesterday", "\"yesterday\" is no time: give 2h, 3d, 2026-11-24, or 2026-11-24T08:00:00Z"),
            ("worker --slots -2", "\"-2\" is no whole number from 0 up"),
            ("worker --gpus zero", "\"zero\" names no GPU: give all, none, or numbers"),
            ("worker --drain-timeout soon", "\"soon\" is no time, such as 30s or 5m"),
            ("worker --artifact-limit lots", "\"lots\" is no size, such as 5GiB"),
            ("api --max-file-size lots", "\"lots\" is no size, such as 5GiB"),
            ("policy set --max-stored-bytes-per-user lots", "\"lots\" is no size, such as 5GiB"),
            ("policy set --resource-classes small=never", "\"never\" is no time, such as 30s or 5m"),
            ("policy set --resource-classes small=1m:memory=lots", "\"lots\" is no size, such as 5GiB"),
            ("jobs list --limit 0", "\"0\" is no whole number from 1 up"),
            ("submissions list --all --limit 3", "cannot be used with"),
            ("board --csv --metrics", "cannot be used with"),
            ("board --param lr", "a param is given as name=value"),
        ] {
            let words = std::iter::once("leadersboard").chain(line.split(' '));
            let error = command().try_get_matches_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(told), "{line}: {error}");
        }
    }
}
