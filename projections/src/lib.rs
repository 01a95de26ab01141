//! The projections: what an event does to the Redis keys that clients read.
//!
//! A read model is a pure function of an aggregate's state ([`job::view`], [`submission::view`]). A patch is the
//! difference between the views before and after, so the fold that runs at commit is the fold that runs at a rebuild,
//! and nothing else ever writes these keys.

pub mod board;
pub mod fields;
pub mod fold;
pub mod idempotency;
pub mod job;
pub mod keys;
pub mod patch;
pub mod policy;
pub mod records;
pub mod regress;
pub mod results;
pub mod submission;

pub use keys::Keyspace;
pub use patch::{Patch, View};

use events::Change;

/// What the new events of an aggregate do to the read models.
#[must_use]
pub fn project(keys: &Keyspace, change: &Change) -> Vec<Patch> {
    match change {
        Change::Job { id, before, events } => job::project(keys, *id, before.as_ref(), events),
        Change::Submission { id, before, events } => submission::project(keys, *id, before.as_ref(), events),
        Change::Policy { before, event } => policy::project(keys, before.as_ref(), event),
        Change::Log { before, event } => regress::project(keys, before.as_ref(), event),
    }
}
