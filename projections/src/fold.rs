//! The log folded into all the states it tells of, to compare the live read models with and to restore them from.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use events::log::regress::{self, LogRecord};
use events::log::stored::{Recorded, StoredEvent, Unreadable};
use events::policy::{self, PolicyRecord};
use events::{AggregateId, Job, JobEvent, StreamId, Submission, SubmissionEvent, job, submission};

use crate::{Keyspace, View};

/// The aggregates of one part of the log, each as the fold of its events.
///
/// A part is chosen by the hash of the aggregate's id, so that a log of any length is folded within bounded memory,
/// part by part.
#[derive(Debug)]
pub struct Fold {
    part: Part,
    aggregates: HashMap<AggregateId, Folded>,
    /// What can't be folded, because one of its events can't be read.
    unreadable: HashMap<AggregateId, Broken>,
}

/// An aggregate one of whose events can't be read. What it became is not known.
#[derive(Debug)]
struct Broken {
    ids: Vec<StreamId>,
    why: String,
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

    /// Whether the key of a user's total belongs to it.
    #[must_use]
    pub fn holds_total(self, key: &str) -> bool {
        self.has(key)
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
        Self { part, aggregates: HashMap::new(), unreadable: HashMap::new() }
    }

    /// Folds one entry of the log, and gives whose it is if it belongs to this part. If the entry can't be read,
    /// nothing is known of its aggregate from then on, until an event that ends it or that tells all of it anew.
    ///
    /// # Errors
    /// If it can't be read whose the entry is.
    pub fn add(&mut self, place: StreamId, stored: &StoredEvent) -> Result<Option<AggregateId>, Unreadable> {
        let id: AggregateId = stored.aggregate.parse()?;
        if !self.part.holds(id) {
            return Ok(None);
        }
        let before = self.aggregates.remove(&id);
        let broken = self.unreadable.remove(&id);
        let (state, mut ids, mut results) =
            before.map_or((None, vec![], None), |folded| (Some(folded.state), folded.ids, folded.results));
        let recorded = stored.read().map_err(|error| format!("its event at {place} can't be read: {error}"));
        let recorded = match (recorded, broken) {
            (Ok(recorded), None) => recorded,
            (Ok(recorded), Some(broken)) if begins_anew(&recorded) => {
                ids = broken.ids;
                recorded
            }
            (_, Some(broken)) => return Ok(Some(self.break_off(id, place, broken.ids, broken.why))),
            (Err(why), None) => return Ok(Some(self.break_off(id, place, ids, why))),
        };
        let state = match (recorded, state) {
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

    fn break_off(&mut self, id: AggregateId, place: StreamId, mut ids: Vec<StreamId>, why: String) -> AggregateId {
        ids.push(place);
        self.unreadable.insert(id, Broken { ids, why });
        id
    }

    /// Whether an aggregate has an event that can't be read, so that it is not known whether it exists.
    #[must_use]
    pub fn is_unreadable(&self, id: AggregateId) -> bool {
        self.unreadable.contains_key(&id)
    }

    /// Those aggregates, and what is wrong with each.
    pub fn unreadable(&self) -> impl Iterator<Item = (AggregateId, &str)> {
        self.unreadable.iter().map(|(id, broken)| (*id, broken.why.as_str()))
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

/// Whether the state after an event does not depend on what was before it.
fn begins_anew(recorded: &Recorded) -> bool {
    match recorded {
        Recorded::Job(_, envelope) => matches!(envelope.event, JobEvent::Expired {}),
        Recorded::Submission(_, envelope) => matches!(envelope.event, SubmissionEvent::Expired {}),
        Recorded::Policy(_) | Recorded::Log(_) => true,
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

#[cfg(test)]
mod tests {
    use events::{Actor, Envelope, JobId, JobSpec, Timestamp};

    use super::*;

    fn id() -> JobId {
        "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap()
    }

    fn stored(seq: u64, event: JobEvent) -> StoredEvent {
        let actor = Actor::System("test".to_owned());
        StoredEvent::of_job(id(), &Envelope { seq, at: Timestamp::default(), actor, trace: None, event })
    }

    #[test]
    fn an_event_that_can_not_be_read_makes_its_aggregate_unknown_until_it_ends() {
        let spec = JobSpec {
            submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
            user: "alice".parse().unwrap(),
            class: "small".parse().unwrap(),
            config: "{}".to_owned(),
            idempotency: None,
        };
        let enqueued = stored(1, JobEvent::Enqueued { spec, dispatched: true });
        let garbage = StoredEvent { data: "[".repeat(500), ..stored(2, JobEvent::Dispatched {}) };
        let ended = stored(4, JobEvent::Expired {});
        let aggregate = AggregateId::Job(id());
        let mut fold = Fold::new(Part { number: 0, of: 1 });
        let mut add = |seq, event: &StoredEvent| fold.add(StreamId { ms: 1, seq }, event).unwrap();
        for (seq, event) in (1..).zip([&enqueued, &garbage, &stored(3, JobEvent::Dispatched {})]) {
            assert_eq!(add(seq, event), Some(aggregate));
        }
        assert!(fold.is_unreadable(aggregate) && fold.get(aggregate).is_none());
        let (_, why) = fold.unreadable().next().unwrap();
        assert!(why.starts_with("its event at 1-2 can't be read"), "{why}");
        fold.add(StreamId { ms: 1, seq: 4 }, &ended).unwrap();
        assert!(!fold.is_unreadable(aggregate) && fold.ids().next().is_none());
        assert!(fold.add(StreamId { ms: 1, seq: 5 }, &StoredEvent::default().unreadable("torn".to_owned())).is_err());
    }
}
