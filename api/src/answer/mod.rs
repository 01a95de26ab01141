//! What handlers answer with: errors, JSON, server-sent events.

pub(crate) mod error;
pub(crate) mod json_answer;
pub(crate) mod json_text;
pub(crate) mod limited;
pub(crate) mod spliced;
pub(crate) mod sse;
pub(crate) mod unread;
