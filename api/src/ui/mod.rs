//! The page at the front door.

pub(crate) mod home;
