//! What the read models of one aggregate must be, how they are read, and how they are restored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::AggregateId;
use events::JobEvent;
use events::log::stored::Recorded;
use events::ports::{HistoryEntry, PortError};
use events::quota::WINDOW;
use projections::board::{Place, score};
use projections::fields::EVENT_IDS;
use projections::fold::Folded;
use projections::{Keyspace, Patch, View};
use redis::Value;

use super::look::{as_text, read_value};
use super::report::Difference;
use crate::redis::commit::wire::{Words, encode_patch, words};
use crate::redis::connection::trouble::{corrupt, unreadable};
use crate::redis::reads::entries::read_entries;

/// What the read models of one aggregate must be.
pub(super) struct Wanted {
    pub(super) id: AggregateId,
    view: View,
    packed_ids: String,
    /// The command that reads the event which holds its results, if it has any.
    results: Option<Words>,
}

/// What they are instead.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) differences: Vec<Difference>,
    /// The writes that restore them.
    pub(super) writes: Vec<Words>,
}

impl Wanted {
    pub(super) fn new(keys: &Keyspace, id: AggregateId, folded: Option<&Folded>) -> Self {
        let Some(folded) = folded else {
            let key = match id {
                AggregateId::Job(id) => keys.job(id),
                AggregateId::Submission(id) => keys.submission(id),
                AggregateId::Policy => keys.policy(),
                AggregateId::Log => keys.regress(),
            };
            let view = View { key, ..View::default() };
            return Self { id, view, packed_ids: String::new(), results: None };
        };
        let place = folded.results.map(|place| place.to_string());
        Self {
            id,
            view: folded.view(keys),
            packed_ids: folded.packed_ids(),
            results: place.map(|place| words(["XRANGE", &keys.events(), &place, &place])),
        }
    }

    /// The commands that read all of it.
    pub(super) fn reads(&self, keys: &Keyspace) -> Vec<Words> {
        let mut reads = vec![words(["HGETALL", &self.view.key]), words(["PEXPIRETIME", &self.view.key])];
        if let AggregateId::Job(id) = self.id {
            let key = keys.result(id);
            reads.extend([words(["HGETALL", &key]), words(["PEXPIRETIME", &key])]);
            reads.extend(self.results.clone());
        }
        reads.extend(
            self.view.memberships.iter().map(|(key, score)| {
                words([if score.is_some() { "ZSCORE" } else { "SISMEMBER" }, key, &self.view.member])
            }),
        );
        reads.extend(self.view.windows.keys().map(|key| words(["ZSCORE", key, &self.view.member])));
        reads.extend(self.view.places.values().map(|(place, _)| words(["ZSCORE", &place.standings, &place.member])));
        reads.extend(self.view.records.keys().flat_map(|key| [words(["HGETALL", key]), words(["PEXPIRETIME", key])]));
        reads
    }

    /// Compares it with the replies to [`Self::reads`], in their order.
    pub(super) fn compare(
        &self,
        keys: &Keyspace,
        now_ms: i64,
        replies: impl IntoIterator<Item = Result<Value, String>>,
    ) -> Result<Compared, PortError> {
        let mut replies = replies.into_iter();
        let mut next = || replies.next().ok_or_else(|| corrupt("a reply is missing"));
        let mut compared = Compared::default();
        let mut fields: BTreeMap<String, String> =
            self.view.fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
        if !fields.is_empty() {
            fields.insert(EVENT_IDS.to_owned(), self.packed_ids.clone());
        }
        let state = Hash { key: self.view.key.clone(), fields, expires_at_ms: None };
        state.compare(now_ms, next()?, next()?, &mut compared)?;

        if let AggregateId::Job(id) = self.id {
            let (hash, expiry) = (next()?, next()?);
            let mut results = Hash { key: keys.result(id), fields: BTreeMap::new(), expires_at_ms: None };
            if self.results.is_some() {
                let entries = read_entries(&next()?.map_err(corrupt)?)?;
                let entry = entries.first().ok_or_else(|| corrupt("the event that holds results is gone"))?;
                results.fill(keys, entry)?;
            }
            results.compare(now_ms, hash, expiry, &mut compared)?;
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
                compared.differences.push(Difference { key: key.clone(), found: shown(&live), wanted: shown(&found) });
                compared.writes.push(add);
            }
        }
        for (key, at_ms) in &self.view.windows {
            self.compare_window(key, *at_ms, now_ms, next()?, &mut compared)?;
        }
        for (place, value) in self.view.places.values() {
            compare_place(place, *value, next()?, &mut compared)?;
        }
        for (key, record) in &self.view.records {
            let fields = record.fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
            let expires_at_ms = Some(record.expires_at_ms);
            let (hash, expiry) = (next()?, next()?);
            // Its key may be another's by then.
            if record.expires_at_ms > now_ms + SECOND_MS {
                Hash { key: key.clone(), fields, expires_at_ms }.compare(now_ms, hash, expiry, &mut compared)?;
            }
        }
        Ok(compared)
    }
}

impl Wanted {
    /// Compares its place in a window, if that is within the hour for sure.
    fn compare_window(
        &self,
        key: &str,
        at_ms: i64,
        now_ms: i64,
        reply: Result<Value, String>,
        compared: &mut Compared,
    ) -> Result<(), PortError> {
        if !in_window(at_ms, now_ms) {
            return Ok(());
        }
        let live = match reply {
            Ok(value) => read_value::<Option<String>>(&value)?,
            Err(error) => Some(error),
        };
        let wanted = at_ms.to_string();
        if live.as_ref() != Some(&wanted) {
            let member = &self.view.member;
            let found = format!("{member} {}", live.as_deref().unwrap_or("absent"));
            compared.differences.push(Difference { key: key.to_owned(), found, wanted: format!("{member} {wanted}") });
            let patch = Patch::NoteInWindow { key: key.to_owned(), member: member.clone(), at_ms };
            compared.writes.extend(encode_patch(patch));
        }
        Ok(())
    }
}

/// Compares what a job reached on a board. What follows from it there is compared when all jobs were.
fn compare_place(
    place: &Place,
    value: f64,
    reply: Result<Value, String>,
    compared: &mut Compared,
) -> Result<(), PortError> {
    let live = match reply {
        Ok(value) => read_value::<Option<String>>(&value)?,
        Err(error) => Some(error),
    };
    // Redis shows more digits than it takes.
    let number = live.as_ref().and_then(|live| live.parse::<f64>().ok());
    if number.map(f64::to_bits) != Some(value.to_bits()) {
        let (member, wanted) = (&place.member, score(value));
        let found = format!("{member} {}", live.as_deref().unwrap_or("absent"));
        let key = place.standings.clone();
        compared.differences.push(Difference { key, found, wanted: format!("{member} {wanted}") });
        compared.writes.push(words(["ZADD", &place.standings, &wanted, member]));
    }
    Ok(())
}

/// Redis's time is known to the second.
const SECOND_MS: i64 = 1_000;

/// Whether what happened at a time is within the hour that ends now, for sure.
pub(super) fn in_window(at_ms: i64, now_ms: i64) -> bool {
    at_ms > now_ms + SECOND_MS - i64::try_from(WINDOW.as_millis()).unwrap_or(i64::MAX)
}

/// A hash as it must be; absent without fields.
struct Hash {
    key: String,
    fields: BTreeMap<String, String>,
    expires_at_ms: Option<i64>,
}

impl Hash {
    /// Takes the results out of the event that holds them.
    fn fill(&mut self, keys: &Keyspace, entry: &HistoryEntry) -> Result<(), PortError> {
        let Recorded::Job(id, envelope) = entry.event.read().map_err(unreadable)? else {
            return Err(corrupt("results are no job's"));
        };
        let JobEvent::Completed { results, .. } = &envelope.event else {
            return Err(corrupt("results are in an event of another kind"));
        };
        if let Patch::SetFields { fields, .. } = projections::results::record(keys, id, results) {
            self.fields = fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
        }
        Ok(())
    }

    fn compare(
        mut self,
        now_ms: i64,
        hash: Result<Value, String>,
        expiry: Result<Value, String>,
        compared: &mut Compared,
    ) -> Result<(), PortError> {
        // A second either way: the moment of the look is known no better.
        if self.expires_at_ms.is_some_and(|at| (now_ms - 1_000..now_ms + 2_000).contains(&at)) {
            return Ok(());
        }
        if self.expires_at_ms.is_some_and(|at| at <= now_ms) {
            self.fields.clear();
        }
        let differences = match hash {
            Ok(hash) => {
                let hash: HashMap<Vec<u8>, Vec<u8>> = read_value(&hash)?;
                let hash = hash.into_iter().map(|(field, value)| (as_text(field), as_text(value))).collect();
                self.differences(&hash, read_value(&expiry.map_err(corrupt)?)?)
            }
            Err(error) => vec![(error, "a hash".to_owned())],
        };
        if !differences.is_empty() {
            let difference = |(found, wanted)| Difference { key: self.key.clone(), found, wanted };
            compared.differences.extend(differences.into_iter().map(difference));
            compared.writes.extend(self.writes());
        }
        Ok(())
    }

    /// What is found and what is wanted, wherever they are not the same.
    fn differences(&self, live: &HashMap<String, String>, expires_at_ms: i64) -> Vec<(String, String)> {
        match (live.is_empty(), self.fields.is_empty()) {
            (true, true) => return vec![],
            (true, false) => return vec![("absent".to_owned(), "present".to_owned())],
            (false, true) => return vec![("present".to_owned(), "absent".to_owned())],
            (false, false) => {}
        }
        let shown = |field: &str, value: Option<&String>| {
            value.map_or_else(|| format!("{field} absent"), |value| format!("{field} {value:?}"))
        };
        let fields: BTreeSet<&String> = live.keys().chain(self.fields.keys()).collect();
        let mut differences: Vec<_> = fields
            .into_iter()
            .map(|field| (field, live.get(field), self.fields.get(field)))
            .filter(|(_, found, wanted)| found != wanted)
            .map(|(field, found, wanted)| (shown(field, found), shown(field, wanted)))
            .collect();
        let wanted = self.expires_at_ms.unwrap_or(-1);
        if expires_at_ms != wanted {
            differences.push((format!("expires at {expires_at_ms} ms"), format!("expires at {wanted} ms")));
        }
        differences
    }

    /// The writes that make it what it must be.
    fn writes(self) -> Vec<Words> {
        let mut writes = vec![words(["DEL", &self.key])];
        if !self.fields.is_empty() {
            let expiry = self.expires_at_ms.map(|at_ms| Patch::ExpireAt { key: self.key.clone(), at_ms });
            let mut set = words(["HSET", &self.key]);
            set.extend(self.fields.into_iter().flat_map(|(field, value)| [field, value]));
            writes.push(set);
            writes.extend(expiry.into_iter().flat_map(encode_patch));
        }
        writes
    }
}
