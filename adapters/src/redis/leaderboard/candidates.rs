//! The jobs of some users on a board, and which of them fit a query.

use std::collections::HashMap;

use events::ports::{BoardQuery, PortError};
use events::{Order, Standing, UserId};
use projections::board::{self, score};
use redis::Value;

use super::PARAMS;
use crate::redis::Redis;
use crate::redis::connection::trouble::away;

impl Redis {
    /// The first job of each of these users that reached their best value.
    pub(super) async fn first_with(
        &self,
        query: &BoardQuery,
        bests: &[(UserId, f64)],
    ) -> Result<Vec<Standing>, PortError> {
        let mut read = redis::pipe();
        for (user, value) in bests {
            let (key, value) = (self.keys().standings(&query.metric, user), score(*value));
            read.cmd("ZRANGE").arg(&[&key, &value, &value, "BYSCORE", "LIMIT", "0", "1"]);
        }
        let members: Vec<Value> = read.ignore_errors().query_async(&mut self.connection()).await.map_err(away)?;
        let (mut first, mut moved) = (Vec::new(), Vec::new());
        for ((user, value), members) in bests.iter().zip(members) {
            let members: Vec<Vec<u8>> = redis::from_redis_value(members).unwrap_or_default();
            match members.first().and_then(|member| read_member(user, member, *value)) {
                Some(standing) => first.push(standing),
                // Their best has expired since it was read, or can't be read.
                None => moved.push(user.clone()),
            }
        }
        first.extend(self.best_of(query, &moved, None).await?);
        Ok(first)
    }

    /// The best job that fits of each of these users; none of a user who has none, or none that is as good as `floor`.
    pub(super) async fn best_of(
        &self,
        query: &BoardQuery,
        users: &[UserId],
        floor: Option<f64>,
    ) -> Result<Vec<Standing>, PortError> {
        let mut candidates = self.standings(query, users, floor).await?;
        for standings in &mut candidates {
            standings.sort_by(|one, other| query.order.compare(one, other));
        }
        let mut open: Vec<_> = candidates.into_iter().map(|standings| standings.into_iter().peekable()).collect();
        let mut found = Vec::new();
        loop {
            open.retain_mut(|standings| standings.peek().is_some());
            if open.is_empty() {
                return Ok(found);
            }
            // Of each user the same share of one go.
            let share = (PARAMS / open.len()).max(1);
            let next: Vec<Vec<Standing>> = open.iter_mut().map(|user| user.by_ref().take(share).collect()).collect();
            let mut fits = self.fit(&query.params, &next.concat()).await?.into_iter();
            let mut still_open = Vec::new();
            for (user, next) in open.into_iter().zip(next) {
                let fits: Vec<bool> = fits.by_ref().take(next.len()).collect();
                match next.into_iter().zip(fits).find(|(_, fits)| *fits) {
                    Some((standing, _)) => found.push(standing),
                    None => still_open.push(user),
                }
            }
            open = still_open;
        }
    }

    /// What the jobs of these users reached that are new enough and as good as `floor`.
    pub(super) async fn standings(
        &self,
        query: &BoardQuery,
        users: &[UserId],
        floor: Option<f64>,
    ) -> Result<Vec<Vec<Standing>>, PortError> {
        if users.is_empty() {
            return Ok(vec![]);
        }
        let floor = floor.map(score);
        let (from, to) = match query.order {
            Order::Asc => ("-inf", floor.as_deref().unwrap_or("+inf")),
            Order::Desc => (floor.as_deref().unwrap_or("-inf"), "+inf"),
        };
        let mut read = redis::pipe();
        for user in users {
            let key = self.keys().standings(&query.metric, user);
            read.cmd("ZRANGE").arg(&[&key, from, to, "BYSCORE", "WITHSCORES"]);
        }
        let found: Vec<Value> = read.ignore_errors().query_async(&mut self.connection()).await.map_err(away)?;
        let of_user = |(user, found): (&UserId, Value)| {
            let found: Vec<(Vec<u8>, f64)> = redis::from_redis_value(found).unwrap_or_default();
            let all = found.iter().filter_map(|(member, value)| read_member(user, member, *value));
            all.filter(|standing| query.since.is_none_or(|since| standing.completed_at >= since)).collect()
        };
        Ok(users.iter().zip(found).map(of_user).collect())
    }

    /// Which of these jobs have such params.
    pub(super) async fn fit(
        &self,
        params: &[(String, String)],
        standings: &[Standing],
    ) -> Result<Vec<bool>, PortError> {
        if params.is_empty() || standings.is_empty() {
            return Ok(vec![true; standings.len()]);
        }
        let mut read = redis::pipe();
        for standing in standings {
            read.cmd("HGET").arg(self.keys().result(standing.job)).arg("params");
        }
        let found: Vec<Value> = read.ignore_errors().query_async(&mut self.connection()).await.map_err(away)?;
        // Params that can't be read are none that anybody asks for.
        let fits = |text: Value| {
            let text: Option<Vec<u8>> = redis::from_redis_value(text).ok().flatten();
            let found: Option<HashMap<String, serde_json::Value>> =
                text.and_then(|text| serde_json::from_slice(&text).ok());
            let has = |found: &HashMap<String, serde_json::Value>| {
                params.iter().all(|(name, wanted)| found.get(name).is_some_and(|value| is_text(value, wanted)))
            };
            found.as_ref().is_some_and(has)
        };
        Ok(found.into_iter().map(fits).collect())
    }
}

/// A place on a board; none if the member is no such place.
fn read_member(user: &UserId, member: &[u8], value: f64) -> Option<Standing> {
    let standing = std::str::from_utf8(member).ok().and_then(|member| board::read(user, member, value));
    if standing.is_none() {
        tracing::debug!(%user, "a place on a board can't be read");
    }
    standing
}

/// Whether a param has this value: a string as it is, anything else as its JSON.
fn is_text(value: &serde_json::Value, wanted: &str) -> bool {
    let json = || value.to_string();
    value.as_str().map_or_else(json, str::to_owned) == wanted
}
