//! The keys of the leaderboard. Metrics are percent-encoded, as user names are.

use std::fmt::Display;

use events::{Order, UserId};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Keyspace, encode};

impl Keyspace {
    /// Read model: what a user's jobs reached in a metric, by value.
    #[must_use]
    pub fn standings(&self, metric: &str, user: &UserId) -> String {
        self.board(metric, format_args!("of:{}", encode(user)))
    }

    /// Read model: the greatest value of each user in a metric.
    #[must_use]
    pub fn highest(&self, metric: &str) -> String {
        self.board(metric, "high")
    }

    /// Read model: the least value of each user in a metric.
    #[must_use]
    pub fn lowest(&self, metric: &str) -> String {
        self.board(metric, "low")
    }

    /// Read model: the records of a metric in an order, by value.
    #[must_use]
    pub fn records(&self, metric: &str, order: Order) -> String {
        self.board(metric, format_args!("records:{}", order.as_str()))
    }

    /// Read model: the metrics of which there is a board, by how many users are on it.
    #[must_use]
    pub fn boards(&self) -> String {
        self.key("boards")
    }

    /// A pattern that every key of every board matches, for `SCAN`.
    #[must_use]
    pub fn boards_pattern(&self) -> String {
        self.key("board:*")
    }

    /// The metric and, for [`ReadModel::Standings`], the user of a key of a board.
    #[must_use]
    pub fn board_of(&self, key: &str) -> Option<(String, Option<UserId>)> {
        let (metric, rest) = key.strip_prefix(&self.key("board:"))?.split_once(':')?;
        let metric = decode(metric)?;
        match rest.split_once(':') {
            Some(("of", user)) => Some((metric, Some(decode(user)?.parse().ok()?))),
            None if rest == "high" || rest == "low" => Some((metric, None)),
            Some(_) | None => None,
        }
    }

    /// The metric and the order of a key of records.
    #[must_use]
    pub fn records_of(&self, key: &str) -> Option<(String, Order)> {
        let (metric, order) = key.strip_prefix(&self.key("board:"))?.split_once(":records:")?;
        Some((decode(metric)?, order.parse().ok()?))
    }

    fn board(&self, metric: &str, what: impl Display) -> String {
        self.key(format_args!("board:{}:{what}", utf8_percent_encode(metric, NON_ALPHANUMERIC)))
    }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
