//! What takes namespaces: a root, a user and a network of the run's own.

pub(crate) mod identities;
pub(crate) mod namespaces;
pub(crate) mod view;
