//! The log folded into all the states it tells of, to compare the live read models with and to restore them from.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use events::policy::{self, PolicyRecord};
use events::regress::{self, LogRecord};
use events::stored::{Recorded, StoredEvent, Unreadable};
use events::{AggregateId, Job, JobEvent, StreamId, Submission, job, submission};

use crate::{Keyspace, View};

/// The aggregates of one part of the log, each as the fold of its events.
///
/// A part is chosen by the hash of the aggregate's id, so that a log of any length is folded within bounded memory, part
/// by part.
#[derive(Debug)]
pub struct Fold {
    part: Part,
    aggregates: HashMap<AggregateId, Folded>,
}

/// Which aggregates are folded: those whose hash, modulo `of`, is `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub number: u64,
    /// How many parts there are.
    pub of: u64,
}

/// An aggregate that exists after the events folded so far.
#[derive(Debug)]
pub struct Folded {
    state: State,
    /// The places of its events, from its first.
    pub ids: Vec<StreamId>,
    /// The place of the event that holds its results. They are read again from there, not kept.
    pub results: Option<StreamId>,
}

#[derive(Debug)]
enum State {
    Job(Box<Job>),
    Submission(Submission),
    Policy(PolicyRecord),
    Log(LogRecord),
}

impl Part {
    /// Whether an aggregate belongs to it.
    #[must_use]
    pub fn holds(self, id: AggregateId) -> bool {
        self.has(id)
    }

    /// Whether the records of a metric belong to it.
    #[must_use]
    pub fn holds_metric(self, metric: &str) -> bool {
        self.has(metric)
    }

    fn has(self, what: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        hasher.finish() % self.of == self.number
    }
}

impl Fold {
    /// Nothing, before the first event.
    #[must_use]
    pub fn new(part: Part) -> Self {
        Self { part, aggregates: HashMap::new() }
    }

    /// Folds one entry of the log, and gives whose it is if it belongs to this part.
    ///
    /// # Errors
    /// If the entry can't be read.
    pub fn add(&mut self, place: StreamId, stored: &StoredEvent) -> Result<Option<AggregateId>, Unreadable> {
        let id: AggregateId = stored.aggregate.parse()?;
        if !self.part.holds(id) {
            return Ok(None);
        }
        let before = self.aggregates.remove(&id);
        let (state, mut ids, mut results) =
            before.map_or((None, vec![], None), |folded| (Some(folded.state), folded.ids, folded.results));
        let state = match (stored.read()?, state) {
            (Recorded::Job(job_id, envelope), state) => {
                if matches!(envelope.event, JobEvent::Completed { .. }) {
                    results = Some(place);
                }
                let before = if let Some(State::Job(job)) = state { Some(*job) } else { None };
                job::evolve(job_id, before, &envelope).map(|job| State::Job(Box::new(job)))
            }
            (Recorded::Submission(submission_id, envelope), state) => {
                let before = if let Some(State::Submission(submission)) = state { Some(submission) } else { None };
                submission::evolve(submission_id, before, &envelope).map(State::Submission)
            }
            (Recorded::Policy(envelope), _) => Some(State::Policy(policy::evolve(&envelope))),
            (Recorded::Log(envelope), _) => Some(State::Log(regress::evolve(&envelope))),
        };
        ids.push(place);
        if let Some(state) = state {
            self.aggregates.insert(id, Folded { state, ids, results });
        }
        Ok(Some(id))
    }

    /// An aggregate that exists.
    #[must_use]
    pub fn get(&self, id: AggregateId) -> Option<&Folded> {
        self.aggregates.get(&id)
    }

    /// Every aggregate that exists.
    pub fn ids(&self) -> impl Iterator<Item = AggregateId> {
        self.aggregates.keys().copied()
    }

    /// Which part of the log this is.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }
}

impl Folded {
    /// What its read models must be.
    #[must_use]
    pub fn view(&self, keys: &Keyspace) -> View {
        match &self.state {
            State::Job(job) => crate::job::view(keys, job),
            State::Submission(submission) => crate::submission::view(keys, submission),
            State::Policy(record) => crate::policy::view(keys, record),
            State::Log(record) => crate::regress::view(keys, record),
        }
    }

    /// Whether it has this member in a user's standings ([`crate::keys::ReadModel::Standings`]).
    #[must_use]
    pub fn stands(&self, keys: &Keyspace, key: &str, member: &str) -> bool {
        match &self.state {
            State::Job(job) => crate::board::stands(keys, job, key, member),
            State::Submission(_) | State::Policy(_) | State::Log(_) => false,
        }
    }

    /// The places of its events as [`crate::fields::EVENT_IDS`] holds them.
    #[must_use]
    pub fn packed_ids(&self) -> String {
        self.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}
