//! The sender of a request.
//!
//! Handlers take a [`caller::Caller`], which `extract.rs` gets by the token of the header, see `bearer.rs`.
//! `authenticator.rs` finds out whose token it is. `tokens.rs` holds the known ones as digests, `entries.rs` reads them
//! from lists and files, and `live.rs` follows the files while the server runs. `attempts.rs` slows the answers to wrong
//! tokens. `streams.rs` ends the event streams of a removed token.

mod attempts;
pub(crate) mod authenticator;
mod bearer;
pub(crate) mod caller;
pub(crate) mod entries;
mod extract;
pub(crate) mod live;
pub(crate) mod streams;
pub(crate) mod tokens;

pub(crate) use caller::{Caller, Role};
