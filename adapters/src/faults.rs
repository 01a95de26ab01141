//! Failpoints: places where a test has the program fail. Only a program built with the feature `faults` has them.

/// A place between two steps. Without the feature `faults` it is nothing, not even a name in the binary.
#[cfg(feature = "faults")]
macro_rules! failpoint {
    ($($name:tt)*) => { $crate::faults::reached(&format!($($name)*)).await? };
}
#[cfg(not(feature = "faults"))]
macro_rules! failpoint {
    ($($name:tt)*) => {};
}
pub(crate) use failpoint;

#[cfg(feature = "faults")]
pub use on::*;

#[cfg(feature = "faults")]
mod on {
    use std::time::Duration;

    use events::ports::PortError;
    use nix::sys::signal::{Signal, raise};

    /// Reads from the environment variable `FAILPOINTS` what happens where, as the crate `fail` has it:
    /// `claim.after=1*return(kill)`. It holds until the value is dropped.
    #[must_use]
    pub fn setup() -> fail::FailScenario<'static> {
        fail::FailScenario::setup()
    }

    /// Does what a test wants here: `kill` or `stop` this process, an `error`, or a delay of so many milliseconds.
    pub(crate) async fn reached(name: &str) -> Result<(), PortError> {
        let Some(action) = fail::eval(name, Option::unwrap_or_default) else { return Ok(()) };
        // Without a name it is the crate's own action, such as `off`.
        eprintln!("failpoint {name}: {action}");
        match action.as_str() {
            "kill" => raise(Signal::SIGKILL).map_err(|error| PortError::Corrupt(error.to_string().into())),
            "stop" => raise(Signal::SIGSTOP).map_err(|error| PortError::Corrupt(error.to_string().into())),
            "error" => Err(PortError::Unavailable(format!("failpoint {name}").into())),
            delay_ms => {
                let delay_ms =
                    delay_ms.parse().map_err(|_| PortError::Corrupt(format!("{name}: {delay_ms:?}").into()))?;
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                Ok(())
            }
        }
    }
}
