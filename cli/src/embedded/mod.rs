//! The private Redis of `up`: a child on a unix socket, with a password, every write synced to disk.
//!
//! It lives and dies with `up`, however that ends: the child is this binary first ([`guard`]), which asks the kernel
//! for a signal at its parent's death, takes the lock of the append-only file, and then becomes `redis-server`. The
//! lock goes with the process, so there are never two on one file. One that ends by itself is started again
//! ([`PrivateRedis::keep`]).

pub(crate) mod guard;
mod restarts;
mod running;
mod server;
mod socket;

pub(crate) use server::{PrivateRedis, check_path};

/// The hidden command that becomes the private Redis.
pub(crate) const GUARD_COMMAND: &str = "__redis";
