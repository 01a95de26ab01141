//! The document of the API: what its parts share, its errors, and the pages that show it.
//!
//! Each handler describes itself. `lib.rs` registers the handlers, and the document has what it registers.

pub(crate) mod document;
pub(crate) mod errors;
mod limits;
pub(crate) mod messages;
pub(crate) mod pages;
pub(crate) mod texts;
