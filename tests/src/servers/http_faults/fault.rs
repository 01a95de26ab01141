//! What can go wrong.

use std::time::Duration;

use super::call::Call;

/// How requests fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// They are passed on.
    None,
    /// Nobody listens, and what was open is cut.
    Down,
    /// Each is answered by 500.
    Broken,
    /// The API refuses the host that is asked for, while the health check says that all is well.
    HostCheck,
    /// Each is passed on so much later, even if nobody waits for its answer any more.
    Slow(Duration),
    /// These calls alone are passed on so much later, even if nobody waits for their answers any more.
    Late(Call, Duration),
    /// Files are cut off after so many bytes, which `MLflow` did get.
    CutFiles(u64),
    /// These calls are answered by 200 and not passed on.
    Swallow(Call),
    /// These calls are passed on, and their answers lost.
    LoseAnswer(Call),
    /// Only those with this `Authorization` are passed on.
    Locked(String),
}
