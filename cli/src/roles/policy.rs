//! `leadersboard policy`: what all roles must agree on.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use events::policy::PolicySettings;
use events::{Actor, UserId};
use serde_json::{Value, json};

use super::answer;
use crate::bad_usage::Given;
use crate::client::Output;
use crate::client::output::human;
use crate::client::output::table::{Align, render};
use crate::options::classes;
use crate::options::policy::PolicyOptions;
use crate::options::redis::RedisOptions;
use crate::roles::policy_change;
use crate::roles::policy_change::{Effects, FORCE, Waiting};
use crate::shared_policy;
use crate::wiring::connect;

/// Show or change the settings that all roles share.
#[derive(Debug, Args)]
pub(crate) struct PolicyCommand {
    #[command(flatten)]
    redis: RedisOptions,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the policy, and which values were set
    Show,
    /// Change the policy; running processes follow within ten seconds
    #[command(after_help = "\
Changes only the values that you give. --resource-classes replaces all classes: name those to keep too. \
Current leases keep their duration. Workers serve a new resource class when they follow, unless WORKER_CLASSES names \
others. If a change deletes finished jobs or unused submissions, the command counts them and asks. To remove a class \
that jobs wait for, give --force: it cancels them. Lower limits end no job.")]
    Set {
        #[command(flatten)]
        policy: Box<PolicyOptions>,
        /// Your name, for the event
        #[arg(long, env = "USER", value_name = "NAME", default_value = "operator")]
        by: UserId,
        /// Delete without asking what a shorter retention or time to live expires
        #[arg(long)]
        yes: bool,
        /// Cancel the jobs that wait for a removed resource class
        #[arg(long)]
        force: bool,
    },
}

impl PolicyCommand {
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode> {
        let redis = connect(&self.redis).await?;
        let settings = match self.what {
            What::Show => shared_policy::stored(&redis).await?,
            What::Set { policy: options, by, yes, force } => {
                let given = options.given().or_bad_usage()?;
                if given == PolicySettings::default() {
                    let nothing = anyhow!("nothing to set: `leadersboard policy set --help` lists what can be");
                    return Err(nothing).or_bad_usage();
                }
                let before = shared_policy::stored(&redis).await?;
                let after = given.clone().over(&before).policy();
                let effects = Effects::of(&redis, &before.policy(), &after).await?;
                if let Some(waiting) = effects.waiting().filter(|_| !force) {
                    bail!("{waiting}: {FORCE}");
                }
                if let Some(expiring) = effects.expiring().filter(|_| !yes) {
                    confirm(&expiring)?;
                }
                let then = if force { Waiting::Cancel } else { Waiting::Refuse };
                let (settings, cancelled) = policy_change::apply(&redis, &Actor::User(by), &given, then).await?;
                for change in policy_change::class_changes(&before.policy(), &settings.policy()) {
                    eprintln!("resource classes {change}");
                }
                if cancelled > 0 {
                    eprintln!("cancelled {} of removed classes", human::counted(cancelled, "waiting job"));
                }
                settings
            }
        };
        answer(output, &table(&settings), &document(&settings))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks whether this may be deleted; refuses where nobody can answer.
fn confirm(expiring: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        bail!("this deletes {expiring} within minutes, and can't be undone: add --yes to do it");
    }
    eprint!("This deletes {expiring} within minutes, and can't be undone. Type \"yes\" to go on: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("nothing was changed");
    }
    Ok(())
}

fn document(settings: &PolicySettings) -> Value {
    let policy = settings.policy();
    let limits = policy.limits;
    let classes: Vec<Value> = policy
        .classes
        .iter()
        .map(|(name, class)| {
            let is_default = *name == policy.default_class;
            json!({
                "name": name,
                "default": is_default,
                "time_limit_s": class.time_limit_s,
                "memory_bytes": class.memory_bytes,
                "processes": class.processes,
                "output_bytes": class.output_bytes,
                "log_bytes": class.log_bytes,
                "gpus": class.gpus,
            })
        })
        .collect();
    json!({
        "lease_ms": policy.lease.as_millis(),
        "max_retries": policy.max_retries,
        "retry_backoff_ms": policy.retry_backoff.iter().map(Duration::as_millis).collect::<Vec<_>>(),
        "classes": classes,
        "max_submissions_per_hour": limits.jobs_per_hour,
        "max_concurrent_running": limits.running,
        "concurrency_policy": limits.concurrency,
        "max_queued_per_user": limits.queued,
        "max_uploads_per_hour": limits.uploads_per_hour,
        "max_uploads_in_flight": limits.uploads_in_flight,
        "max_stored_bytes_per_user": limits.stored_bytes,
        "retention_ms": policy.retention.as_millis(),
        "submission_ttl_ms": policy.submission_ttl.as_millis(),
        "set": settings,
    })
}

fn table(settings: &PolicySettings) -> String {
    let policy = settings.policy();
    let origin = |is_set: bool| if is_set { "set".to_owned() } else { "default".to_owned() };
    let waits: Vec<String> = policy.retry_backoff.iter().map(|wait| time(*wait)).collect();
    let class = |name| policy.class(name).map(|class| classes::in_full(name, class));
    let others = policy.classes.keys().filter(|name| **name != policy.default_class);
    let classes: Vec<String> = std::iter::once(&policy.default_class).chain(others).filter_map(class).collect();
    let rows = [
        ["lease".to_owned(), time(policy.lease), origin(settings.lease_ms.is_some())],
        ["max retries".to_owned(), policy.max_retries.to_string(), origin(settings.max_retries.is_some())],
        ["retry backoff".to_owned(), waits.join(","), origin(settings.retry_backoff_ms.is_some())],
        ["resource classes".to_owned(), classes.join("\n"), origin(settings.classes.is_some())],
    ];
    let rows = rows.into_iter().chain(limits(settings, origin)).chain([
        ["retention".to_owned(), time(policy.retention), origin(settings.retention_ms.is_some())],
        ["submission ttl".to_owned(), time(policy.submission_ttl), origin(settings.submission_ttl_ms.is_some())],
    ]);
    let table = render([("POLICY", Align::Left), ("VALUE", Align::Left), ("", Align::Left)], rows);
    if policy.classes.values().all(|class| class.memory_bytes.is_some()) {
        return table;
    }
    format!(
        "{table}\n\nA class without memory gets the worker's share: 90 % of the machine's memory, divided by WORKER_SLOTS."
    )
}

/// A time as it can be set. Days stay days.
fn time(time: Duration) -> String {
    const DAY_S: u64 = 24 * 60 * 60;
    match (time.as_secs() / DAY_S, time.as_millis() % u128::from(DAY_S * 1_000)) {
        (days @ 1.., 0) => format!("{days}d"),
        _ => humantime::format_duration(time).to_string(),
    }
}

fn limits(settings: &PolicySettings, origin: impl Fn(bool) -> String) -> [[String; 3]; 7] {
    let (set, limits) = (&settings.limits, settings.policy().limits);
    let row = |name: &str, value: String, is_set: bool| [name.to_owned(), value, origin(is_set)];
    [
        row("max submissions per hour", limits.jobs_per_hour.to_string(), set.max_submissions_per_hour.is_some()),
        row("max concurrent running", limits.running.to_string(), set.max_concurrent_running.is_some()),
        row("concurrency policy", limits.concurrency.to_string(), set.concurrency_policy.is_some()),
        row("max queued per user", limits.queued.to_string(), set.max_queued_per_user.is_some()),
        row("max uploads per hour", limits.uploads_per_hour.to_string(), set.max_uploads_per_hour.is_some()),
        row("max uploads in flight", limits.uploads_in_flight.to_string(), set.max_uploads_in_flight.is_some()),
        row(
            "max stored bytes per user",
            classes::size(limits.stored_bytes).to_string(),
            set.max_stored_bytes_per_user.is_some(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_it_can_be_set() {
        for (seconds, shown) in [(90 * 86_400, "90d"), (90_000, "1day 1h"), (30, "30s")] {
            assert_eq!(time(Duration::from_secs(seconds)), shown);
            assert_eq!(humantime::parse_duration(shown).unwrap(), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_policy_tells_which_values_were_set() {
        let settings = PolicySettings { max_retries: Some(7), ..PolicySettings::default() };
        let text = table(&settings);
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("max retries"), ["7", "set"]);
        assert_eq!(line("lease"), ["30s", "default"]);
        assert_eq!(line("retention"), ["90d", "default"]);
        assert_eq!(document(&settings)["set"]["max_retries"], 7);
    }
}
