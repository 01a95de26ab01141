//! The boards as clients ask for them.
//!
//! A page without a filter reads as many of the best as it shows. With one, users are looked at in the order of their
//! best value, which no value of theirs that fits can beat, until enough that fit are better than all that is left.

mod candidates;
mod records;

use async_trait::async_trait;
use events::ports::{Board, BoardQuery, Leader, LeaderboardPort, PortError};
use events::{Order, Standing, UserId};
use projections::board::{best, score};

use crate::redis::{Redis, away, corrupt};

/// How many users are looked at in one go.
const USERS: usize = 50;
/// How many jobs' params are looked at in one go.
const PARAMS: usize = 256;
/// How often a page is read anew when a job of it vanished meanwhile.
const TRIES: usize = 3;

#[async_trait]
impl LeaderboardPort for Redis {
    async fn boards(&self) -> Result<Vec<Board>, PortError> {
        let found: Vec<(String, f64)> = redis::cmd("ZRANGE")
            .arg(&[&self.keys().boards(), "0", "-1", "WITHSCORES"])
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of users")]
        let board = |(metric, users): (String, f64)| Board { metric, users: users as u64 };
        let mut boards: Vec<Board> = found.into_iter().map(board).collect();
        boards.sort_by(|one, other| one.metric.cmp(&other.metric));
        Ok(boards)
    }

    async fn leaders(&self, query: &BoardQuery) -> Result<Vec<Leader>, PortError> {
        let mut tries = 1;
        loop {
            let ranked = self.ranked(query).await?;
            let wanted = ranked.len();
            let leaders = self.with_results(ranked).await?;
            // A job that expired meanwhile leaves its place to another.
            if leaders.len() == wanted || tries == TRIES {
                return Ok(leaders);
            }
            tries += 1;
        }
    }

    async fn records(&self, query: &BoardQuery) -> Result<Vec<Standing>, PortError> {
        if query.params.is_empty() {
            let mut newest = self.newest_records(query).await?;
            newest.reverse();
            return Ok(newest);
        }
        let mut records = self.records_among(query).await?;
        let is_asked_for = |record: &Standing| {
            query.since.is_none_or(|since| record.completed_at >= since)
                && query.user.as_ref().is_none_or(|user| record.user == *user)
        };
        records.retain(is_asked_for);
        Ok(records.split_off(records.len().saturating_sub(query.limit)))
    }
}

/// How far down a board is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// So many, and all whose value is that of the last.
    First(usize),
    /// To its end.
    All,
}

impl Redis {
    /// The best of each user that fits, with its rank, best first.
    async fn ranked(&self, query: &BoardQuery) -> Result<Vec<(u64, Standing)>, PortError> {
        let own = match &query.user {
            None => None,
            Some(user) => match self.best_of(query, std::slice::from_ref(user), None).await?.pop() {
                Some(standing) => Some(standing),
                None => return Ok(vec![]),
            },
        };
        let is_filtered = query.since.is_some() || !query.params.is_empty();
        if let Some(own) = own.as_ref().filter(|_| !is_filtered) {
            return Ok(vec![(self.rank(query, own).await?, own.clone())]);
        }
        let reach = if is_filtered { Reach::All } else { Reach::First(query.limit) };
        let bests = self.bests(query, reach).await?;
        let mut found: Vec<Standing> = Vec::new();
        for bests in bests.chunks(USERS) {
            let left = bests[0].1;
            let last = own.as_ref().or_else(|| found.get(query.limit.saturating_sub(1)));
            if last.is_some_and(|last| query.order.is_better(last.value, left)) {
                break;
            }
            if is_filtered {
                let users: Vec<UserId> = bests.iter().map(|(user, _)| user.clone()).collect();
                let floor = last.map(|last| last.value);
                found.extend(self.best_of(query, &users, floor).await?);
            } else {
                found.extend(self.first_with(query, bests).await?);
            }
            found.sort_by(|one, other| query.order.compare(one, other));
        }
        let ranked = (1..).zip(found);
        Ok(match &query.user {
            None => ranked.take(query.limit).collect(),
            Some(user) => ranked.filter(|(_, standing)| standing.user == *user).collect(),
        })
    }

    /// The rank of a user's best on a whole board.
    async fn rank(&self, query: &BoardQuery, own: &Standing) -> Result<u64, PortError> {
        let (key, value) = (best(self.keys(), &query.metric, query.order), score(own.value));
        let (from, to) = match query.order {
            Order::Asc => ("-inf".to_owned(), format!("({value}")),
            Order::Desc => (format!("({value}"), "+inf".to_owned()),
        };
        let (better, tied): (u64, Vec<String>) = redis::pipe()
            .cmd("ZCOUNT")
            .arg(&[&key, &from, &to])
            .cmd("ZRANGE")
            .arg(&[&key, &value, &value, "BYSCORE"])
            .query_async(&mut self.connection())
            .await
            .map_err(|error| away(&error))?;
        let tied = tied.into_iter().map(|user| Ok((user.parse().map_err(corrupt)?, own.value)));
        let tied = self.first_with(query, &tied.collect::<Result<Vec<_>, _>>()?).await?;
        let earlier = tied.iter().filter(|other| query.order.compare(other, own).is_lt()).count();
        Ok(better + earlier as u64 + 1)
    }

    /// Users and their best values, best first.
    async fn bests(&self, query: &BoardQuery, reach: Reach) -> Result<Vec<(UserId, f64)>, PortError> {
        let key = best(self.keys(), &query.metric, query.order);
        let last = match reach {
            Reach::All => -1,
            Reach::First(count) => i64::try_from(count).map_or(-1, |count| count - 1),
        };
        let mut read = redis::cmd("ZRANGE");
        read.arg(&key).arg(0).arg(last);
        if query.order == Order::Desc {
            read.arg("REV");
        }
        read.arg("WITHSCORES");
        let mut found: Vec<(String, f64)> =
            read.query_async(&mut self.connection()).await.map_err(|error| away(&error))?;
        if let (Reach::First(count), Some((_, last))) = (reach, found.last())
            && found.len() == count
        {
            let last = *last;
            let tied: Vec<String> = redis::cmd("ZRANGE")
                .arg(&[&key, &score(last), &score(last), "BYSCORE"])
                .query_async(&mut self.connection())
                .await
                .map_err(|error| away(&error))?;
            found.retain(|(_, value)| query.order.is_better(*value, last));
            found.extend(tied.into_iter().map(|user| (user, last)));
        }
        found.into_iter().map(|(user, value)| Ok((user.parse().map_err(corrupt)?, value))).collect()
    }

    /// The jobs and their results, but for those that have expired.
    async fn with_results(&self, ranked: Vec<(u64, Standing)>) -> Result<Vec<Leader>, PortError> {
        let ids: Vec<_> = ranked.iter().map(|(_, standing)| standing.job).collect();
        let keys: Vec<String> = ids.iter().map(|id| self.keys().result(*id)).collect();
        let (jobs, hashes) = futures::try_join!(self.read_jobs(&ids), self.hashes(&keys))?;
        let mut leaders = Vec::with_capacity(ranked.len());
        for ((rank, standing), ((job, key), hash)) in ranked.into_iter().zip(jobs.into_iter().zip(keys).zip(hashes)) {
            let results = projections::results::read(&key, &hash).map_err(corrupt)?;
            leaders.extend(job.zip(results).map(|(job, results)| Leader { rank, standing, job, results }));
        }
        Ok(leaders)
    }
}
