//! The boards as clients ask for them.
//!
//! A page without a filter reads as many of the best as it shows. With one, users are looked at in the order of their
//! best value, which no matching value can beat, until enough matching values are better than all that is left.

mod candidates;
mod records;

use async_trait::async_trait;
use events::ports::{Board, BoardQuery, Boards, Leader, LeaderboardPort, Leaders, PortError};
use events::ranking::{figures, method};
use events::{Order, Standing, UserId};
use projections::board::{best, score};
use redis::Script;

use crate::redis::Redis;
use crate::redis::connection::trouble::away;
use crate::redis::reads::index::read_id;

/// How many users' best jobs are read in one go.
const USERS: usize = 200;
/// How many users' jobs, all of them, are read in one go: a user may have tens of thousands.
const USERS_WITH_ALL: usize = 16;
/// How many jobs' params are looked at in one go: they may have 256 KiB each.
const PARAMS: usize = 64;
/// How many rows are read in one go: likewise.
const ROWS: usize = 50;
/// How often a page is read anew when a job of it vanished meanwhile.
const TRIES: usize = 3;

#[async_trait]
impl LeaderboardPort for Redis {
    async fn boards(&self, limit: usize) -> Result<Boards, PortError> {
        let key = self.keys().boards();
        let page = Script::new(include_str!("page.lua"));
        let found: Vec<(Vec<u8>, f64)> =
            page.key(&key).arg(limit).arg("REV").arg(limit).invoke_async(&mut self.connection()).await.map_err(away)?;
        let total: u64 = redis::cmd("ZCARD").arg(&key).query_async(&mut self.connection()).await.map_err(away)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of users")]
        let board = |(metric, users): (Vec<u8>, f64)| {
            Some(Board { metric: String::from_utf8(metric).ok()?, users: users as u64 })
        };
        let mut boards: Vec<Board> = found.into_iter().filter_map(board).collect();
        boards.sort_by(|one, other| other.users.cmp(&one.users).then_with(|| one.metric.cmp(&other.metric)));
        boards.truncate(limit);
        Ok(Boards { boards, total })
    }

    async fn leaders(&self, query: &BoardQuery) -> Result<Leaders, PortError> {
        let mut tries = 1;
        loop {
            let ranked = self.ranked(query).await?;
            let wanted = ranked.len();
            let mut leaders = Leaders::default();
            for rows in ranked.chunks(ROWS) {
                self.add_results(rows, &mut leaders).await?;
            }
            // A job that expired meanwhile leaves its place to another.
            if leaders.leaders.len() + leaders.unreadable.len() == wanted || tries == TRIES {
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
        let is_filtered = query.since.is_some() || !query.params.is_empty();
        let own = match &query.user {
            None => None,
            Some(user) => match self.own_best(query, user, is_filtered).await? {
                Some(standing) => Some(standing),
                None => return Ok(vec![]),
            },
        };
        if let Some(own) = own.as_ref().filter(|_| !is_filtered) {
            return Ok(vec![(self.rank(query, own).await?, own.clone())]);
        }
        let reach = if is_filtered { Reach::All } else { Reach::First(query.limit) };
        let bests = self.bests(query, reach).await?;
        let mut found: Vec<Standing> = Vec::new();
        for bests in bests.chunks(if is_filtered { USERS_WITH_ALL } else { USERS }) {
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

    /// A user's best job that fits.
    async fn own_best(
        &self,
        query: &BoardQuery,
        user: &UserId,
        is_filtered: bool,
    ) -> Result<Option<Standing>, PortError> {
        if is_filtered {
            return Ok(self.best_of(query, std::slice::from_ref(user), None).await?.pop());
        }
        let value: Option<f64> = redis::cmd("ZSCORE")
            .arg(&[&best(self.keys(), &query.metric, query.order), user.as_str()])
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        let Some(value) = value else { return Ok(None) };
        Ok(self.first_with(query, &[(user.clone(), value)]).await?.pop())
    }

    /// The rank of a user's best on a whole board.
    async fn rank(&self, query: &BoardQuery, own: &Standing) -> Result<u64, PortError> {
        let (key, value) = (best(self.keys(), &query.metric, query.order), score(own.value));
        let (from, to) = match query.order {
            Order::Asc => ("-inf".to_owned(), format!("({value}")),
            Order::Desc => (format!("({value}"), "+inf".to_owned()),
        };
        let (better, tied): (u64, Vec<Vec<u8>>) = redis::pipe()
            .cmd("ZCOUNT")
            .arg(&[&key, &from, &to])
            .cmd("ZRANGE")
            .arg(&[&key, &value, &value, "BYSCORE"])
            .query_async(&mut self.connection())
            .await
            .map_err(away)?;
        let tied: Vec<(UserId, f64)> = tied.iter().filter_map(|user| Some((read_id(user)?, own.value))).collect();
        let tied = self.first_with(query, &tied).await?;
        let earlier = tied.iter().filter(|other| query.order.compare(other, own).is_lt()).count();
        Ok(better + earlier as u64 + 1)
    }

    /// Users and their best values, best first.
    async fn bests(&self, query: &BoardQuery, reach: Reach) -> Result<Vec<(UserId, f64)>, PortError> {
        let key = best(self.keys(), &query.metric, query.order);
        let rev = if query.order == Order::Desc { "REV" } else { "" };
        let found: Vec<(Vec<u8>, f64)> = match reach {
            Reach::First(count) => {
                let page = Script::new(include_str!("page.lua"));
                page.key(&key).arg(count).arg(rev).arg(-1).invoke_async(&mut self.connection()).await
            }
            Reach::All => {
                let mut read = redis::cmd("ZRANGE");
                read.arg(&[&key, "0", "-1"]).arg((!rev.is_empty()).then_some(rev)).arg("WITHSCORES");
                read.query_async(&mut self.connection()).await
            }
        }
        .map_err(away)?;
        // A member that is no name is nobody.
        Ok(found.into_iter().filter_map(|(user, value)| Some((read_id(&user)?, value))).collect())
    }

    /// Adds the jobs with what of their results is shown, except those that have expired.
    async fn add_results(&self, ranked: &[(u64, Standing)], to: &mut Leaders) -> Result<(), PortError> {
        let ids: Vec<_> = ranked.iter().map(|(_, standing)| standing.job).collect();
        let keys: Vec<String> = ids.iter().map(|id| self.keys().result(*id)).collect();
        let (jobs, hashes) = futures::try_join!(self.read_each_job(&ids), self.hashes(&keys))?;
        for ((rank, standing), ((job, key), hash)) in ranked.iter().zip(jobs.into_iter().zip(keys).zip(hashes)) {
            let results = match hash {
                Ok(hash) => projections::results::read(&key, &hash),
                Err(why) => Some(projections::results::unreadable(&why)),
            };
            match (job, results) {
                (Ok(Some(job)), Some(results)) => to.leaders.push(Leader {
                    rank: *rank,
                    standing: standing.clone(),
                    job,
                    method: results.params.as_ref().and_then(method),
                    performance: figures(results.performance.unwrap_or_default()),
                }),
                (Err(why), _) => to.unreadable.push((*rank, standing.clone(), why)),
                (Ok(_), _) => {}
            }
        }
        Ok(())
    }
}
