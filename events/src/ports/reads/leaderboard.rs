//! The boards as clients ask for them.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::id::UserId;
use crate::job::Job;
use crate::ports::PortError;
use crate::ranking::{Order, Standing};
use crate::time::Timestamp;

/// The boards: of each metric, what jobs reached.
#[async_trait]
pub trait LeaderboardPort: Send + Sync {
    /// The metrics of which there is a board, those with the most users first, at most so many.
    async fn boards(&self, limit: usize) -> Result<Boards, PortError>;

    /// The best job of each user's, best first, ties to the earlier. Only jobs that fit the query count; a user's rank
    /// is the one among all users with such a job.
    async fn leaders(&self, query: &BoardQuery) -> Result<Leaders, PortError>;

    /// Each job that was better than all before it, oldest first: of all there ever were, or, where the query asks for
    /// params, of those that are kept and have them. Of these the newest `limit` that are the user's and new enough.
    async fn records(&self, query: &BoardQuery) -> Result<Vec<Standing>, PortError>;
}

/// The board of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Which metric.
    pub metric: String,
    /// How many users have a job with it.
    pub users: u64,
}

/// Some of the boards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boards {
    /// Those with the most users first, of equals by name.
    pub boards: Vec<Board>,
    /// How many there are in all.
    pub total: u64,
}

/// Which part of a board is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct BoardQuery {
    /// Of which metric.
    pub metric: String,
    /// Which values are better.
    pub order: Order,
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only jobs that completed at that time or later.
    pub since: Option<Timestamp>,
    /// Only jobs whose params are these: a name and a value as text.
    pub params: Vec<(String, String)>,
    /// At most this many.
    pub limit: usize,
}

/// The best of a board.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Leaders {
    /// Best first.
    pub leaders: Vec<Leader>,
    /// The places between them whose jobs can't be read, and why.
    pub unreadable: Vec<(u64, Standing, String)>,
}

/// A place on a board, and the job that has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leader {
    /// Its place, from 1.
    pub rank: u64,
    /// What it reached.
    pub standing: Standing,
    /// The job.
    pub job: Job,
    /// Its method ([`crate::ranking::method`]).
    pub method: Option<String>,
    /// What it cost ([`crate::ranking::figures`]).
    pub performance: Map<String, Value>,
}
