//! `leadersboard dlq replay`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use anyhow::{Context, Result};
use clap::Args;
use events::execute::{self, ExecuteError, Origin};
use events::ports::Ids;
use events::{Actor, DeadLetterKind, Job, JobCommand, JobId, JobState, Policy, RequestId, UserId};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::select::Filters;
use crate::client::Output;
use crate::roles::answer;
use crate::shared_policy;

/// How many replays are under way at once where no rate is given.
const AT_ONCE: usize = 32;
/// How many refused jobs are named for each reason.
const SHOWN: usize = 5;

#[derive(Debug, Args)]
#[command(after_help = "\
Each replay is an event of its job, with your name and reason. The same commit removes the job from the dead letters. \
If the command is interrupted, run it again: no job is replayed twice.
--all skips jobs that may be poison (kind worker_lost) unless you give --kind or --poison.")]
pub(super) struct Replay {
    /// Ids of dead letters or failed jobs
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    jobs: Vec<JobId>,
    /// All jobs that match the filters, newest first
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    /// With --all: also jobs that lost three workers
    #[arg(long, requires = "all")]
    poison: bool,
    /// Maximum rate, such as 10/s
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    rate: Option<NonZeroU32>,
    /// Only list what would be replayed
    #[arg(long)]
    dry_run: bool,
    /// Your name, for the event
    #[arg(long, env = "USER", value_name = "NAME", default_value = "operator")]
    by: UserId,
    /// The reason, for the event
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    why: String,
}

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    number.parse().map_err(|_| format!("{text:?} is no rate: give a number a second, such as 10/s"))
}

/// What all replays of one call share.
struct Order {
    request: RequestId,
    policy: Policy,
}

/// The results, counted.
#[derive(Default)]
struct Tally {
    replayed: u64,
    poison: u64,
    /// Refused, by the sentence that says why.
    refused: BTreeMap<String, Vec<JobId>>,
}

impl Replay {
    pub(super) async fn run(self, redis: &Redis, output: Output) -> Result<ExitCode> {
        let order = Order { request: SystemIds.request(), policy: shared_policy::stored(redis).await?.policy() };
        let mut pace = self.rate.map(pace);
        let mut tally = Tally::default();
        let bar = bar();
        if self.all {
            let total: u64 = redis.count_dead_letters().await?;
            bar.set_length(self.filters.limit.map_or(total, |limit| limit.min(total)));
            let mut selection = self.filters.select(redis, u64::MAX).await?;
            while let Some(page) = selection.next(redis).await? {
                let (poison, wanted): (Vec<Job>, Vec<Job>) = page.into_iter().partition(|job| self.is_left_out(job));
                tally.poison += poison.len() as u64;
                bar.inc(poison.len() as u64);
                self.replay(redis, &order, wanted.iter().map(|job| job.id).collect(), &mut pace, &bar, &mut tally)
                    .await?;
            }
        } else {
            bar.set_length(self.jobs.len() as u64);
            self.replay(redis, &order, self.jobs.clone(), &mut pace, &bar, &mut tally).await?;
        }
        bar.finish_and_clear();
        self.tell(output, &tally)
    }

    /// Whether the job may be poison, and neither --poison nor --kind includes it.
    fn is_left_out(&self, job: &Job) -> bool {
        let poison =
            matches!(&job.state, JobState::DeadLettered(ended) if ended.why.kind == DeadLetterKind::WorkerLost);
        poison && !self.poison && self.filters.kind.is_none()
    }

    async fn replay(
        &self,
        redis: &Redis,
        order: &Order,
        jobs: Vec<JobId>,
        pace: &mut Option<Interval>,
        bar: &ProgressBar,
        tally: &mut Tally,
    ) -> Result<()> {
        if self.dry_run {
            tally.replayed += jobs.len() as u64;
            bar.inc(jobs.len() as u64);
            return Ok(());
        }
        let one = async |id: JobId| (id, self.replay_one(redis, order, id).await);
        if let Some(pace) = pace {
            for id in jobs {
                pace.tick().await;
                tally.note(one(id).await)?;
                bar.inc(1);
            }
            return Ok(());
        }
        let mut under_way = futures::stream::iter(jobs).map(one).buffer_unordered(AT_ONCE);
        while let Some(done) = under_way.next().await {
            tally.note(done)?;
            bar.inc(1);
        }
        Ok(())
    }

    async fn replay_one(
        &self,
        redis: &Redis,
        order: &Order,
        id: JobId,
    ) -> Result<(), ExecuteError<events::job::Rejection>> {
        let command = JobCommand::Replay { by: self.by.clone(), why: self.why.clone(), request: order.request };
        let origin = Origin { actor: Actor::User(self.by.clone()), trace: None };
        execute::job(redis, &order.policy, &origin, id, &command, SystemIds.jitter()).await.map(drop)
    }

    fn sentence(&self, tally: &Tally) -> String {
        let verb = if self.dry_run { "would be replayed" } else { "replayed" };
        let poison = match tally.poison {
            0 => String::new(),
            some => format!(", {some} left out as possible poison (--poison replays them too)"),
        };
        let refusals = tally.refused.iter().map(|(why, jobs)| {
            let ids: Vec<String> = jobs.iter().take(SHOWN).map(ToString::to_string).collect();
            let unshown = if jobs.len() > SHOWN { ", …" } else { "" };
            format!("\n{} refused: {why} ({}{unshown})", jobs.len(), ids.join(", "))
        });
        format!("{} {verb}{poison}{}", tally.replayed, refusals.collect::<String>())
    }

    fn tell(&self, output: Output, tally: &Tally) -> Result<ExitCode> {
        let refused: Vec<_> =
            tally.refused.iter().flat_map(|(why, jobs)| jobs.iter().map(move |id| (id, why))).collect();
        let document = json!({
            "dry_run": self.dry_run,
            "replayed": tally.replayed,
            "poison": tally.poison,
            "refused": refused.iter().map(|(id, why)| json!({ "job_id": id.to_string(), "detail": why })).collect::<Vec<_>>(),
        });
        answer(output, &self.sentence(tally), &document)?;
        Ok(if tally.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Tally {
    fn note(&mut self, (id, done): (JobId, Result<(), ExecuteError<events::job::Rejection>>)) -> Result<()> {
        match done {
            Ok(()) => self.replayed += 1,
            Err(ExecuteError::Rejected(refusal)) => self.refused.entry(refusal.to_string()).or_default().push(id),
            Err(error) => {
                let so_far = format!("after {} were replayed; run the same command again to continue", self.replayed);
                return Err(anyhow::anyhow!("{error}")).context(so_far);
            }
        }
        Ok(())
    }
}

fn pace(rate: NonZeroU32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

fn bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use events::job::Rejection;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        command: Replay,
    }

    fn replay(args: &[&str]) -> Replay {
        Cli::try_parse_from(["replay"].iter().chain(args)).unwrap().command
    }

    #[test]
    fn a_replay_tells_what_was_refused_and_what_was_left_out() {
        let mut tally = Tally::default();
        let ids: Vec<JobId> = (0..7).map(|_| SystemIds.job()).collect();
        for id in &ids[..6] {
            tally.note((*id, Err(ExecuteError::Rejected(Rejection::Unknown)))).unwrap();
        }
        tally.note((ids[6], Ok(()))).unwrap();
        tally.poison = 2;
        let told = replay(&["--all"]).sentence(&tally);
        let first = "1 replayed, 2 left out as possible poison (--poison replays them too)\n";
        assert!(told.starts_with(first), "{told}");
        assert!(told.contains("6 refused: there is no such job (") && told.ends_with(", …)"), "{told}");
        assert_eq!(replay(&["--all", "--dry-run"]).sentence(&Tally::default()), "0 would be replayed");
    }

    #[test]
    fn an_outage_ends_it_and_says_how_far_it_came() {
        let mut tally = Tally { replayed: 3, ..Tally::default() };
        let error = tally.note((SystemIds.job(), Err(ExecuteError::Full))).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("after 3 were replayed; run the same command again to continue: "),
            "{error:#}"
        );
    }
}
