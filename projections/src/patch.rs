//! Views of a state as Redis keys, and the patches that lead from one view to another.

use std::collections::BTreeMap;

use crate::board::Place;

/// One change of one read-model key.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// Sets fields of a hash.
    SetFields {
        /// The hash.
        key: String,
        /// The fields and their new values.
        fields: Vec<(&'static str, String)>,
    },
    /// Removes fields of a hash.
    RemoveFields {
        /// The hash.
        key: String,
        /// The fields.
        fields: Vec<&'static str>,
    },
    /// Appends the stream ids of this commit's events to [`crate::fields::EVENT_IDS`] of a hash.
    NoteEventIds {
        /// The hash.
        key: String,
    },
    /// Adds a member to a set, or to a sorted set where it has a score.
    AddMember {
        /// The set.
        key: String,
        /// The member.
        member: String,
        /// Milliseconds since the Unix epoch; none for a plain set.
        score: Option<i64>,
    },
    /// Removes a member from a set or a sorted set.
    RemoveMember {
        /// The set.
        key: String,
        /// The member.
        member: String,
        /// Whether the set is sorted.
        kind: SetKind,
    },
    /// Makes a key vanish at a time.
    ExpireAt {
        /// The key.
        key: String,
        /// When, in milliseconds since the Unix epoch.
        at_ms: i64,
    },
    /// Adds a member to a window: a sorted set of what happened within an hour. What left it long before is dropped,
    /// and the window vanishes some time after its newest member has left it ([`events::quota::WINDOW_KEPT`]).
    NoteInWindow {
        /// The window.
        key: String,
        /// The member.
        member: String,
        /// When it happened, in milliseconds since the Unix epoch.
        at_ms: i64,
    },
    /// Adds to the total [`crate::fields::BYTES`] of a hash.
    AddBytes {
        /// The hash.
        key: String,
        /// How many, below zero to take away.
        bytes: i64,
    },
    /// Puts a job on a board, settles which of its user's jobs is the best there, and notes it among the records if it
    /// is one.
    Rank {
        /// Where.
        place: Place,
        /// What it reached.
        value: f64,
    },
    /// Takes a job off a board, and settles likewise. A record it was, it stays.
    Unrank {
        /// Where.
        place: Place,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: String,
    },
}

/// Which kind of set a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// A plain set.
    Plain,
    /// A sorted set.
    Sorted,
}

/// An aggregate's state as Redis keys: its own hash, and its place in the indexes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// The key of its hash.
    pub key: String,
    /// The fields of its hash.
    pub fields: BTreeMap<&'static str, String>,
    /// The sets that hold `member`, with its score where they are sorted.
    pub memberships: BTreeMap<String, Option<i64>>,
    /// Its member in those sets: its id.
    pub member: String,
    /// The windows that hold `member`, and when it happened, in milliseconds since the Unix epoch. What left the hour
    /// may be there or not.
    pub windows: BTreeMap<String, i64>,
    /// What is kept about it beside its hash for a while, by key.
    pub records: BTreeMap<String, Record>,
    /// The totals it counts in, and with how many bytes.
    pub totals: BTreeMap<String, u64>,
    /// Its places on boards, by the key of its user's jobs there, and what it reached.
    pub places: BTreeMap<String, (Place, f64)>,
}

/// A hash that is written once and vanishes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its fields.
    pub fields: Vec<(&'static str, String)>,
    /// When it vanishes, in milliseconds since the Unix epoch.
    pub expires_at_ms: i64,
}

/// The patches that lead from `before` to `after`. `None` is an aggregate that does not exist.
///
/// The ids of the events are noted in the hash whenever it lives on.
#[must_use]
pub fn diff(before: Option<&View>, after: Option<&View>) -> Vec<Patch> {
    let nothing = View::default();
    let old = before.unwrap_or(&nothing);
    let new = after.unwrap_or(&nothing);
    let mut patches = Vec::new();
    if after.is_some() {
        let key = || new.key.clone();
        let changed = |(field, value): (&&'static str, &String)| {
            (old.fields.get(field) != Some(value)).then(|| (*field, value.clone()))
        };
        let fields: Vec<_> = new.fields.iter().filter_map(changed).collect();
        if !fields.is_empty() {
            patches.push(Patch::SetFields { key: key(), fields });
        }
        let gone: Vec<_> = old.fields.keys().filter(|field| !new.fields.contains_key(*field)).copied().collect();
        if !gone.is_empty() {
            patches.push(Patch::RemoveFields { key: key(), fields: gone });
        }
        patches.push(Patch::NoteEventIds { key: key() });
    } else if before.is_some() {
        patches.push(Patch::Delete { key: old.key.clone() });
    }
    for (key, score) in &old.memberships {
        if !new.memberships.contains_key(key) {
            let kind = if score.is_some() { SetKind::Sorted } else { SetKind::Plain };
            patches.push(Patch::RemoveMember { key: key.clone(), member: old.member.clone(), kind });
        }
    }
    for (key, score) in &new.memberships {
        if old.memberships.get(key) != Some(score) {
            patches.push(Patch::AddMember { key: key.clone(), member: new.member.clone(), score: *score });
        }
    }
    for key in old.windows.keys().filter(|key| !new.windows.contains_key(*key)) {
        patches.push(Patch::RemoveMember { key: key.clone(), member: old.member.clone(), kind: SetKind::Sorted });
    }
    for (key, at_ms) in new.windows.iter().filter(|(key, at_ms)| old.windows.get(*key) != Some(at_ms)) {
        patches.push(Patch::NoteInWindow { key: key.clone(), member: new.member.clone(), at_ms: *at_ms });
    }
    // A record is never removed: it vanishes by itself, and its key may be somebody else's by then.
    for (key, record) in new.records.iter().filter(|(key, _)| !old.records.contains_key(*key)) {
        patches.push(Patch::SetFields { key: key.clone(), fields: record.fields.clone() });
        patches.push(Patch::ExpireAt { key: key.clone(), at_ms: record.expires_at_ms });
    }
    for (key, (place, _)) in old.places.iter().filter(|(key, _)| !new.places.contains_key(*key)) {
        debug_assert_eq!(key, &place.standings);
        patches.push(Patch::Unrank { place: place.clone() });
    }
    for (_, (place, value)) in new.places.iter().filter(|(key, there)| old.places.get(*key) != Some(there)) {
        patches.push(Patch::Rank { place: place.clone(), value: *value });
    }
    for (key, bytes) in total_changes(old, new) {
        patches.push(Patch::AddBytes { key, bytes });
    }
    patches
}

fn total_changes(old: &View, new: &View) -> BTreeMap<String, i64> {
    let mut changes = BTreeMap::new();
    for (totals, sign) in [(&old.totals, -1), (&new.totals, 1)] {
        for (key, bytes) in totals {
            *changes.entry(key.clone()).or_default() += sign * i64::try_from(*bytes).unwrap_or(i64::MAX);
        }
    }
    changes.retain(|_, bytes| *bytes != 0);
    changes
}
