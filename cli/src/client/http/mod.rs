//! How the commands for users speak to a server: requests, answers, errors, Ctrl-C.

mod address;
mod answer;
pub(crate) mod begun;
pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod interrupt;
pub(crate) mod model;
pub(crate) mod pace;
mod refusal;
pub(crate) mod request;
#[cfg(test)]
pub(crate) mod test_server;
pub(crate) mod transfer;
