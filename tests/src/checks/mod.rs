//! What must hold after a test, read from the log and from `MLflow`.

pub mod invariants;
pub mod read_back;
mod slots;
