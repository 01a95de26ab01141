//! What a person sees: sizes and times in words, tables, a status line, a job's log.

pub(crate) mod filter;
pub(crate) mod human;
pub(crate) mod pages;
pub(crate) mod print;
pub(crate) mod screen;
pub(crate) mod settled;
pub(crate) mod standing;
pub(crate) mod table;
