//! Submissions: creating, listing and showing them.

pub(crate) mod create;
mod form;
pub(crate) mod look;
pub(crate) mod place;
mod tree;
