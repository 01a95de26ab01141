//! Work state that is compared with the log and put right, and what is set aside because it can't be read.

pub(crate) mod dead_letters;
pub(crate) mod tidy;
pub(crate) mod work_state;
