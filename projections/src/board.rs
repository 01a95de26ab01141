//! The read model of the leaderboard: for each metric, what each user's jobs reached, and the best of each user.
//!
//! Of one job are only its own places. Which of a user's jobs is the best follows from all of them, so it is settled
//! where they are: by the script that adds a place or takes one away.

use std::collections::BTreeMap;

use events::job::Completed;
use events::ranking::{Order, Standing};
use events::time::from_unix_micros;
use events::{Job, JobId, JobState, Timestamp, UserId};

use crate::Keyspace;
use crate::fields::{Fields, Unreadable};

/// A job's place on the board of one metric, as keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The sorted set of what its user's jobs reached, by value.
    pub standings: String,
    /// The sorted set of the greatest value of each user.
    pub highest: String,
    /// The sorted set of the least value of each user.
    pub lowest: String,
    /// The sorted set of all metrics, by how many users have a value.
    pub boards: String,
    /// The sorted set of the records where greater values are better.
    pub rising: String,
    /// The sorted set of the records where smaller values are better.
    pub falling: String,
    /// The metric, which is the member there.
    pub metric: String,
    /// The user, who is the member of the bests.
    pub user: String,
    /// The member of the standings: when the job completed and its id, so that of equal values the earlier is first.
    pub member: String,
}

/// The place of a user on the board of a metric.
#[must_use]
pub fn place(keys: &Keyspace, metric: &str, user: &UserId, member: String) -> Place {
    Place {
        standings: keys.standings(metric, user),
        highest: keys.highest(metric),
        lowest: keys.lowest(metric),
        boards: keys.boards(),
        rising: keys.records(metric, Order::Desc),
        falling: keys.records(metric, Order::Asc),
        metric: metric.to_owned(),
        user: user.to_string(),
        member,
    }
}

/// The places of a job: one for each of its metrics that are ranked, if it completed.
pub(crate) fn places(keys: &Keyspace, job: &Job) -> BTreeMap<String, (Place, f64)> {
    let JobState::Completed(Completed { at, ranked, .. }) = &job.state else { return BTreeMap::new() };
    let at_place = |(metric, value): (&String, &f64)| {
        let place = place(keys, metric, &job.spec.user, member(*at, job.id));
        (place.standings.clone(), (place, *value))
    };
    ranked.iter().map(at_place).collect()
}

/// Whether a job has this member in a user's standings at `key`: as its view has, without making all of that.
pub(crate) fn stands(keys: &Keyspace, job: &Job, key: &str, found: &str) -> bool {
    let JobState::Completed(Completed { at, ranked, .. }) = &job.state else { return false };
    keys.board_of(key).is_some_and(|(metric, user)| {
        user.as_ref() == Some(&job.spec.user) && ranked.contains_key(&metric) && found == member(*at, job.id)
    })
}

/// The key of the best values of all users in an order.
#[must_use]
pub fn best(keys: &Keyspace, metric: &str, order: Order) -> String {
    match order {
        Order::Asc => keys.lowest(metric),
        Order::Desc => keys.highest(metric),
    }
}

/// A score as it is written: the shortest text that is read as the same number.
#[must_use]
pub fn score(value: f64) -> String {
    format!("{value:?}")
}

/// The member of a job that completed at a time, in a form whose order is that of time.
pub(crate) fn member(at: Timestamp, id: JobId) -> String {
    format!("{:016x}-{id}", at.timestamp_micros())
}

/// What a member and its score in a user's standings tell.
#[must_use]
pub fn read(user: &UserId, member: &str, value: f64) -> Option<Standing> {
    let (micros, job) = member.split_once('-')?;
    let completed_at = from_unix_micros(i64::from_str_radix(micros, 16).ok()?);
    Some(Standing { user: user.clone(), value, completed_at, job: job.parse().ok()? })
}

/// Whose place a member of a user's standings is.
pub(crate) fn job_of(member: &str) -> Option<JobId> {
    member.split_once('-')?.1.parse().ok()
}

/// What is ranked of a job, as one field of its hash.
pub(crate) fn store(ranked: &BTreeMap<String, f64>) -> String {
    serde_json::to_string(ranked).expect("string keys and finite numbers always serialise")
}

/// Reads what [`store`] gave; nothing where the field is absent.
pub(crate) fn restore(fields: &Fields<'_>, field: &str) -> Result<BTreeMap<String, f64>, Unreadable> {
    let Some(text) = fields.optional::<String>(field)? else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&text)
        .map_err(|error| fields.unreadable(format!("field {field:?}: {}", events::json::problem(&error))))
}
