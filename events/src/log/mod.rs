//! Events as they stand in the log: what surrounds each, how each is stored.

pub mod envelope;
pub mod regress;
pub mod stored;
