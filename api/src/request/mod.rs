//! What handlers read of a request: the user, its id, bodies, query strings, paths, idempotency keys.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod client_address;
pub(crate) mod extract;
pub(crate) mod id;
pub(crate) mod idempotency;
pub(crate) mod json_body;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod streams;
