//! The best of each user on each board, which follow from their standings: those are compared with the log before.

use std::collections::HashSet;

use events::UserId;
use events::ports::PortError;
use projections::board::place;
use projections::patch::SetKind;
use redis::Script;

use super::report::{AuditReport, Difference, Mode};
use crate::redis::Redis;
use crate::redis::connection::trouble::away;
use crate::redis::reads::index::read_id;

impl Redis {
    /// Compares the best of each user, and the count of each board's users, with what they follow from, each at one
    /// moment; in [`Mode::Rebuild`] restores them. [`Mode::Verify`] does not compare what follows from damaged keys: a
    /// rebuild restores those keys first.
    pub(super) async fn audit_boards(&self, mode: Mode, report: &mut AuditReport) -> Result<(), PortError> {
        let boards = self.members(&self.keys().boards()).await?;
        let mut metrics: HashSet<String> =
            boards.into_iter().filter_map(|metric| String::from_utf8(metric).ok()).collect();
        // Metrics whose bests differ, or were not compared.
        let mut doubtful: HashSet<String> = HashSet::new();
        let mut without: HashSet<(String, UserId)> = HashSet::new();
        let mut cursor = 0_u64;
        loop {
            let (next, found) = self.scan(&self.keys().boards_pattern(), cursor).await?;
            for key in found {
                match self.keys().board_of(&key) {
                    Some((metric, Some(user))) => {
                        if !self.audit_best(mode, &metric, Some(&user), report).await? {
                            doubtful.insert(metric.clone());
                        }
                        metrics.insert(metric);
                    }
                    // Who is here and has no standings is to go.
                    Some((metric, None)) => {
                        self.audit_names(mode, &key, report).await?;
                        for user in self.without_standings(&metric, &key).await? {
                            // The greatest and the least value are compared together.
                            if without.insert((metric.clone(), user.clone()))
                                && !self.audit_best(mode, &metric, Some(&user), report).await?
                            {
                                doubtful.insert(metric.clone());
                            }
                        }
                        metrics.insert(metric);
                    }
                    None => {}
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        for metric in metrics.iter().filter(|metric| mode == Mode::Rebuild || !doubtful.contains(*metric)) {
            self.audit_best(mode, metric, None, report).await?;
        }
        Ok(())
    }

    /// The users among the bests at `key` who have no standings in the metric.
    async fn without_standings(&self, metric: &str, key: &str) -> Result<Vec<UserId>, PortError> {
        let users: Vec<UserId> = self.members(key).await?.iter().filter_map(|user| read_id(user)).collect();
        if users.is_empty() {
            return Ok(users);
        }
        let mut read = redis::pipe();
        for user in &users {
            read.cmd("EXISTS").arg(self.keys().standings(metric, user));
        }
        let there: Vec<bool> = read.query_async(&mut self.connection()).await.map_err(away)?;
        Ok(users.into_iter().zip(there).filter(|(_, there)| !there).map(|(user, _)| user).collect())
    }

    /// Finds what is no name among the bests at `key`; in [`Mode::Rebuild`] removes it.
    async fn audit_names(&self, mode: Mode, key: &str, report: &mut AuditReport) -> Result<(), PortError> {
        for member in self.members(key).await? {
            if read_id::<UserId>(&member).is_none() {
                self.audit_garbage(mode, key, SetKind::Sorted, member, report).await?;
            }
        }
        Ok(())
    }

    /// All members of a sorted set; none of what is another type, which its own comparison tells.
    async fn members(&self, key: &str) -> Result<Vec<Vec<u8>>, PortError> {
        let read = redis::cmd("ZRANGE").arg(&[key, "0", "-1"]).query_async(&mut self.connection()).await;
        match read {
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(vec![]),
            read => read.map_err(away),
        }
    }

    /// Compares the best of a user, or without a user the count of a board; returns whether nothing differs.
    async fn audit_best(
        &self,
        mode: Mode,
        metric: &str,
        user: Option<&UserId>,
        report: &mut AuditReport,
    ) -> Result<bool, PortError> {
        // Without a user no standings are looked at.
        let nobody: UserId = "-".parse().expect("a name");
        let place = place(self.keys(), metric, user.unwrap_or(&nobody), String::new());
        if mode == Mode::Verify && user.is_some() && report.is_damaged(&place.standings) {
            return Ok(false);
        }
        let differences: Vec<(String, String, String)> = Script::new(include_str!("best.lua"))
            .key(&place.standings)
            .key(&place.highest)
            .key(&place.lowest)
            .key(&place.boards)
            .arg(metric)
            .arg(user.map_or("", UserId::as_str))
            .arg(match mode {
                Mode::Verify => "verify",
                Mode::Rebuild => "rebuild",
            })
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        let difference = |(key, found, wanted)| Difference { key, found, wanted };
        let is_right = differences.is_empty();
        report.note(differences.into_iter().map(difference).collect());
        Ok(is_right)
    }
}
