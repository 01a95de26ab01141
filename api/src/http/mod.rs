//! The server below the routes: connections, what is refused before a handler sees it, a span for each request.

pub(crate) mod connections;
pub(crate) mod refused;
pub(crate) mod serve;
pub(crate) mod trace;
