//! What the read models of one aggregate must be, how they are read, and how they are restored.

use std::collections::{BTreeMap, HashMap};

use events::AggregateId;
use events::JobEvent;
use events::ports::{HistoryEntry, PortError};
use events::stored::Recorded;
use projections::fields::EVENT_IDS;
use projections::fold::Folded;
use projections::{Patch, Projector, View};
use redis::Value;
use redis::streams::StreamRangeReply;

use super::Difference;
use super::look::read_value;
use crate::redis::corrupt;
use crate::redis::event_log::read_entry;
use crate::redis::wire::{Words, encode_patch, words};

/// What the read models of one aggregate must be.
pub(super) struct Wanted {
    pub(super) id: AggregateId,
    view: View,
    packed_ids: String,
    /// The command that reads the event which holds its results, if it has any.
    results: Option<Words>,
}

/// What they are instead.
pub(super) struct Compared {
    pub(super) differences: Vec<Difference>,
    /// The writes that restore them.
    pub(super) writes: Vec<Words>,
}

impl Wanted {
    pub(super) fn new(projector: &Projector, id: AggregateId, folded: Option<&Folded>) -> Self {
        let keys = &projector.keys;
        let Some(folded) = folded else {
            let key = match id {
                AggregateId::Job(id) => keys.job(id),
                AggregateId::Submission(id) => keys.submission(id),
            };
            let view = View { key, ..View::default() };
            return Self { id, view, packed_ids: String::new(), results: None };
        };
        let place = folded.results.map(|place| place.to_string());
        Self {
            id,
            view: folded.view(projector),
            packed_ids: folded.packed_ids(),
            results: place.map(|place| words(["XRANGE", &keys.events(), &place, &place])),
        }
    }

    /// The commands that read all of it.
    pub(super) fn reads(&self, projector: &Projector) -> Vec<Words> {
        let mut reads = vec![words(["HGETALL", &self.view.key]), words(["PEXPIRETIME", &self.view.key])];
        if let AggregateId::Job(id) = self.id {
            let key = projector.keys.result(id);
            reads.extend([words(["HGETALL", &key]), words(["PEXPIRETIME", &key])]);
            reads.extend(self.results.clone());
        }
        reads.extend(
            self.view.memberships.iter().map(|(key, score)| {
                words([if score.is_some() { "ZSCORE" } else { "SISMEMBER" }, key, &self.view.member])
            }),
        );
        reads
    }

    /// Compares it with the replies to [`Self::reads`], in their order.
    pub(super) fn compare(
        &self,
        projector: &Projector,
        now_ms: i64,
        replies: impl IntoIterator<Item = Result<Value, String>>,
    ) -> Result<Compared, PortError> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next().ok_or_else(|| corrupt("a reply is missing"));
        let mut differences = Vec::new();
        let mut writes = Vec::new();

        let expiry = self.view.expires_at.map(|at| at.timestamp_millis());
        let mut fields: BTreeMap<String, String> =
            self.view.fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
        if !fields.is_empty() {
            fields.insert(EVENT_IDS.to_owned(), self.packed_ids.clone());
        }
        let state = Hash { key: self.view.key.clone(), fields, expiry };
        state.compare(now_ms, next()?, next()?, &mut differences, &mut writes)?;

        if let AggregateId::Job(id) = self.id {
            let (hash, hash_expiry) = (next()?, next()?);
            let mut results = Hash { key: projector.keys.result(id), fields: BTreeMap::new(), expiry: None };
            if self.results.is_some() {
                let reply: StreamRangeReply = read_value(&next()?.map_err(corrupt)?)?;
                let entry = reply.ids.first().ok_or_else(|| corrupt("the event that holds results is gone"))?;
                results.fill(projector, &read_entry(entry)?)?;
            }
            results.compare(now_ms, hash, hash_expiry, &mut differences, &mut writes)?;
        }
        for (key, score) in &self.view.memberships {
            let (found, add) = match score {
                Some(score) => (Some(score.to_string()), words(["ZADD", key, &score.to_string(), &self.view.member])),
                None => (Some("1".to_owned()), words(["SADD", key, &self.view.member])),
            };
            let live = match next()? {
                Ok(value) => read_value::<Option<String>>(&value)?,
                Err(error) => Some(error),
            };
            if live != found {
                let member = &self.view.member;
                let shown = |score: &Option<String>| format!("{member} {}", score.as_deref().unwrap_or("absent"));
                differences.push(Difference { key: key.clone(), found: shown(&live), wanted: shown(&found) });
                writes.push(add);
            }
        }
        Ok(Compared { differences, writes })
    }
}

/// A hash as it must be; absent without fields.
struct Hash {
    key: String,
    fields: BTreeMap<String, String>,
    expiry: Option<i64>,
}

impl Hash {
    /// Takes the results out of the event that holds them.
    fn fill(&mut self, projector: &Projector, entry: &HistoryEntry) -> Result<(), PortError> {
        let Recorded::Job(id, envelope) = entry.event.read().map_err(corrupt)? else {
            return Err(corrupt("results are no job's"));
        };
        let JobEvent::Completed { results, .. } = &envelope.event else {
            return Err(corrupt("results are in an event of another kind"));
        };
        if let Patch::SetFields { fields, .. } = projections::results::record(&projector.keys, id, results) {
            self.fields = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
        }
        self.expiry = Some((envelope.at + projector.retention).timestamp_millis());
        Ok(())
    }

    fn compare(
        mut self,
        now_ms: i64,
        hash: Result<Value, String>,
        expiry: Result<Value, String>,
        differences: &mut Vec<Difference>,
        writes: &mut Vec<Words>,
    ) -> Result<(), PortError> {
        // A second either way: the moment of the look is known no better.
        if self.expiry.is_some_and(|at| (now_ms - 1_000..now_ms + 2_000).contains(&at)) {
            return Ok(());
        }
        if self.expiry.is_some_and(|at| at <= now_ms) {
            self.fields.clear();
        }
        let before = differences.len();
        let mut differs = |found: String, wanted: String| {
            differences.push(Difference { key: self.key.clone(), found, wanted });
        };
        match hash {
            Err(error) => differs(error, "a hash".to_owned()),
            Ok(hash) => {
                let live: HashMap<String, String> = read_value(&hash)?;
                if live.is_empty() != self.fields.is_empty() {
                    let shown = |empty: bool| if empty { "absent".to_owned() } else { "present".to_owned() };
                    differs(shown(live.is_empty()), shown(self.fields.is_empty()));
                } else {
                    for (field, wanted) in &self.fields {
                        let found = live.get(field);
                        if found != Some(wanted) {
                            let found = found.map_or_else(|| "absent".to_owned(), |found| format!("{found:?}"));
                            differs(format!("{field} {found}"), format!("{field} {wanted:?}"));
                        }
                    }
                    for (field, found) in live.iter().filter(|(field, _)| !self.fields.contains_key(*field)) {
                        differs(format!("{field} {found:?}"), format!("{field} absent"));
                    }
                    let found: i64 = read_value(&expiry.map_err(corrupt)?)?;
                    let wanted = self.expiry.unwrap_or(-1);
                    if !live.is_empty() && found != wanted {
                        differs(format!("expires at {found} ms"), format!("expires at {wanted} ms"));
                    }
                }
            }
        }
        if differences.len() > before {
            writes.push(words(["DEL", &self.key]));
            if !self.fields.is_empty() {
                let mut set = words(["HSET", &self.key]);
                set.extend(self.fields.into_iter().flat_map(|(field, value)| [field, value]));
                writes.push(set);
                let expire = |at_ms| encode_patch(Patch::ExpireAt { key: self.key.clone(), at_ms });
                writes.extend(self.expiry.map(expire));
            }
        }
        Ok(())
    }
}
