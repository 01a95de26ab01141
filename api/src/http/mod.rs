//! The server below the routes: connections, TLS, what is refused before a handler sees it, a span for each request.

pub(crate) mod admission;
pub(crate) mod connections;
pub(crate) mod cors;
pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod refused;
pub(crate) mod serve;
pub(crate) mod target;
pub(crate) mod tls;
pub(crate) mod trace;
