//! Signals: the first asks for an orderly end, the second for an immediate one.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A closed terminal sends SIGHUP more than once, and a session manager also sends SIGTERM. A signal that follows the
/// first within this time is the same request.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// What the parts of a process watch for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// End in order: finish what is under way.
    pub(crate) orderly: CancellationToken,
    /// End now: give back what is under way.
    pub(crate) now: CancellationToken,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// SIGINT or SIGTERM.
    Asked,
    /// SIGHUP.
    HungUp,
}

impl Stop {
    /// Watches for SIGINT, SIGTERM and SIGHUP from now on. Below `nohup` SIGHUP stays ignored.
    ///
    /// # Errors
    /// If the handlers can't be installed.
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self::default();
        let mut signals = Signals {
            interrupt: signal(SignalKind::interrupt()).context("SIGINT can't be watched")?,
            terminate: signal(SignalKind::terminate()).context("SIGTERM can't be watched")?,
            hangup: if is_hangup_ignored(&std::fs::read("/proc/self/status").unwrap_or_default()) {
                None
            } else {
                Some(signal(SignalKind::hangup()).context("SIGHUP can't be watched")?)
            },
        };
        let tokens = stop.clone();
        tokio::spawn(async move {
            let (first, began) = (signals.next().await, Instant::now());
            tracing::info!("stopping; a second signal ends it at once");
            tokens.orderly.cancel();
            while is_same_request(first, signals.next().await, began.elapsed()) {}
            tracing::info!("ending at once");
            tokens.now.cancel();
        });
        Ok(stop)
    }

    /// Carries out a start. Returns `None` if a signal comes before it is done.
    ///
    /// # Errors
    /// As of the start.
    pub(crate) async fn unless_stopped<T>(&self, start: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        tokio::select! {
            biased;
            () = self.orderly.cancelled() => Ok(None),
            started = start => started.map(Some),
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) -> Sent {
        let Self { interrupt, terminate, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Sent::Asked,
            _ = terminate.recv() => Sent::Asked,
            _ = hung_up => Sent::HungUp,
        }
    }
}

fn is_same_request(first: Sent, second: Sent, after: Duration) -> bool {
    (first == Sent::HungUp || second == Sent::HungUp) && after < SAME_REQUEST
}

/// Whether a process with this `/proc/<pid>/status` ignores SIGHUP. (proc(5): a mask in hexadecimal, signal 1 first)
fn is_hangup_ignored(status: &[u8]) -> bool {
    let ignored = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigIgn:"));
    let mask = ignored.and_then(|mask| str::from_utf8(mask).ok()?.trim().chars().next_back()?.to_digit(16));
    mask.is_some_and(|last_digit| last_digit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_terminal_asks_once_and_a_hurried_person_twice() {
        let (soon, late) = (Duration::from_millis(10), Duration::from_secs(2));
        for (first, second) in [(Sent::HungUp, Sent::HungUp), (Sent::HungUp, Sent::Asked), (Sent::Asked, Sent::HungUp)]
        {
            assert!(is_same_request(first, second, soon), "{first:?} {second:?}");
            assert!(!is_same_request(first, second, late), "{first:?} {second:?}");
        }
        assert!(!is_same_request(Sent::Asked, Sent::Asked, soon));
    }

    #[test]
    fn what_nohup_starts_ignores_a_closed_terminal() {
        assert!(is_hangup_ignored(b"Name:\t\xff\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!is_hangup_ignored(b"SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!is_hangup_ignored(b""));
    }
}
