//! Which dead letters a command is about.

use adapters::redis::Redis;
use anyhow::Result;
use clap::{Args, ValueEnum};
use events::ports::{DeadLetterPort, DeadLetterQuery, Unreadable};
use events::{DeadLetterKind, Job, JobId, UserId};

use crate::value;
use crate::value::Since;

/// How many dead letters are read at a time.
const PAGE: usize = 100;

/// The filters that `list`, `replay --all` and `purge --all` share.
#[derive(Debug, Clone, Args)]
pub(super) struct Filters {
    /// Only this kind
    #[arg(long)]
    pub(super) kind: Option<Kind>,
    /// Only jobs of this user
    #[arg(long, value_name = "NAME")]
    user: Option<UserId>,
    /// Only jobs given up since then: 2h, 3d, 2026-11-24, or 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = value::since)]
    since: Option<Since>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N", value_parser = value::positive::<u64>)]
    pub(super) limit: Option<u64>,
}

/// The kinds as they are written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The job lost three workers
    WorkerLost,
    /// The platform failed the job too often
    Infrastructure,
}

impl From<Kind> for DeadLetterKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::WorkerLost => Self::WorkerLost,
            Kind::Infrastructure => Self::Infrastructure,
        }
    }
}

/// Dead letters, page by page, never all at once.
pub(super) struct Selection {
    /// Those passed over because their records can't be read.
    pub(super) unreadable: Vec<Unreadable<JobId>>,
    query: DeadLetterQuery,
    left: u64,
    done: bool,
}

impl Filters {
    /// What they select, at most `default_limit` where no limit was given.
    pub(super) async fn select(&self, redis: &Redis, default_limit: u64) -> Result<Selection> {
        let since = match self.since {
            Some(since) => Some(since.at(redis.now().await?)),
            None => None,
        };
        let (kind, user) = (self.kind.map(Into::into), self.user.clone());
        let query = DeadLetterQuery { kind, user, since, cursor: None, limit: PAGE };
        Ok(Selection { unreadable: vec![], query, left: self.limit.unwrap_or(default_limit), done: false })
    }
}

impl Selection {
    /// The next page; none at the end.
    pub(super) async fn next(&mut self, redis: &Redis) -> Result<Option<Vec<Job>>> {
        while !self.done && self.left > 0 {
            self.query.limit = PAGE.min(usize::try_from(self.left).unwrap_or(PAGE));
            let page = redis.dead_letters(&self.query).await?;
            self.done = page.next.is_none();
            self.query.cursor = page.next;
            self.unreadable.extend(page.unreadable);
            if !page.jobs.is_empty() {
                self.left -= page.jobs.len() as u64;
                return Ok(Some(page.jobs));
            }
        }
        Ok(None)
    }
}
