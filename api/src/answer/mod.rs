//! What handlers give out: errors, JSON, server-sent events.

pub(crate) mod error;
pub(crate) mod json_answer;
pub(crate) mod limited;
pub(crate) mod spliced;
pub(crate) mod sse;
pub(crate) mod unread;
