//! What handlers take in: who asks, bodies, query strings, paths, repeated requests.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod extract;
pub(crate) mod idempotency;
pub(crate) mod json_body;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod query;
