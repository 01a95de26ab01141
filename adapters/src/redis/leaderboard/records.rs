//! How the best of a metric changed over time.

use events::ports::{BoardQuery, PortError};
use events::{Order, Standing, UserId};
use projections::board::score;
use projections::records::{Records, read};

use super::{PARAMS, Reach, USERS_WITH_ALL};
use crate::redis::Redis;
use crate::redis::connection::trouble::away;

/// How many records are read in one go.
const PAGE: usize = 1_000;

impl Redis {
    /// The newest records of all jobs there ever were, newest first, that were set since a time, by a user.
    pub(super) async fn newest_records(&self, query: &BoardQuery) -> Result<Vec<Standing>, PortError> {
        let key = self.keys().records(&query.metric, query.order);
        // The best is the newest, and no two are equal.
        let (mut from, to, reversed) = match query.order {
            Order::Asc => ("-inf".to_owned(), "+inf", None),
            Order::Desc => ("+inf".to_owned(), "-inf", Some("REV")),
        };
        let mut newest = Vec::new();
        loop {
            let found: Vec<(Vec<u8>, f64)> = redis::cmd("ZRANGE")
                .arg(&[&key, &from, to, "BYSCORE"])
                .arg(reversed)
                .arg("LIMIT")
                .arg(0)
                .arg(PAGE)
                .arg("WITHSCORES")
                .query_async(&mut self.connection())
                .await
                .map_err(away)?;
            let Some((_, last)) = found.last() else { return Ok(newest) };
            from = format!("({}", score(*last));
            for (member, value) in found {
                // One that can't be read is passed over: the audit tells of it.
                let standing = std::str::from_utf8(&member).ok().and_then(|member| read(member, value));
                let Some(standing) = standing else { continue };
                if newest.len() == query.limit || query.since.is_some_and(|since| standing.completed_at < since) {
                    return Ok(newest);
                }
                if query.user.as_ref().is_none_or(|user| *user == standing.user) {
                    newest.push(standing);
                }
            }
        }
    }

    /// The records among the jobs that are kept and have such params.
    pub(super) async fn records_among(&self, query: &BoardQuery) -> Result<Vec<Standing>, PortError> {
        let everybody: Vec<UserId> = self.bests(query, Reach::All).await?.into_iter().map(|(user, _)| user).collect();
        let of_all_time = BoardQuery { since: None, ..query.clone() };
        let mut records = Records::new(query.order);
        for users in everybody.chunks(USERS_WITH_ALL) {
            let mut standings = self.standings(&of_all_time, users, None).await?.concat();
            // The first of them first: what they beat needs no look at its params.
            standings.sort_by_key(|standing| (standing.completed_at, standing.job));
            let mut left = standings.into_iter();
            loop {
                let next: Vec<Standing> =
                    left.by_ref().filter(|standing| records.takes(standing)).take(PARAMS).collect();
                if next.is_empty() {
                    break;
                }
                let fits = self.fit(&query.params, &next).await?;
                for (standing, _) in next.into_iter().zip(fits).filter(|(_, fits)| *fits) {
                    records.add(standing);
                }
            }
        }
        Ok(records.into_standings())
    }
}
