//! What an audit finds.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use projections::fold::Part;

/// How many differences are kept to be shown.
const SHOWN: usize = 20;

/// Whether what differs is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is only told. Nothing is written.
    Verify,
    /// It is restored from the log.
    Rebuild,
}

/// A read model that is not what the log folds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// What it holds.
    pub found: String,
    /// What the log folds to.
    pub wanted: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Events folded.
    pub events: u64,
    /// Aggregates compared.
    pub aggregates: u64,
    /// How many differences there are, or were before they were restored.
    pub differences: u64,
    /// The first of them.
    pub first: Vec<Difference>,
    /// How many aggregates and entries of the log can't be read. What they tell of is neither compared nor restored.
    pub unreadable: u64,
    /// The first of them.
    pub first_unreadable: Vec<Unreadable>,
    /// The hashes of the keys that differ.
    damaged: HashSet<u64>,
}

/// Something in the log that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The aggregate, or the place in the log if it is not known whose event is there.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

/// How far an audit has come: aggregates compared, of those known so far, in which part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Aggregates compared in this part.
    pub compared: u64,
    /// Aggregates of this part.
    pub of: u64,
    /// Which part.
    pub part: Part,
}

impl AuditReport {
    pub(super) fn note(&mut self, differences: Vec<Difference>) {
        self.differences += differences.len() as u64;
        self.damaged.extend(differences.iter().map(|it| hash(&it.key)));
        let room = SHOWN.saturating_sub(self.first.len());
        self.first.extend(differences.into_iter().take(room));
    }

    /// Whether this key was found to differ.
    pub(super) fn is_damaged(&self, key: &str) -> bool {
        self.damaged.contains(&hash(key))
    }

    pub(super) fn note_unreadable(&mut self, what: String, why: String) {
        self.unreadable += 1;
        if self.first_unreadable.len() < SHOWN {
            self.first_unreadable.push(Unreadable { what, why });
        }
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
