//! Ctrl-C: nothing is begun after it, and what goes on by itself is named.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::begun::Begun;
use super::error::ClientError;

/// How long the answer to a request that may have made a job is waited for. A second Ctrl-C ends that.
const ANSWER_GRACE: Duration = Duration::from_secs(3);

/// How long after its arrival a signal is heard of at the latest.
const HEARD_WITHIN: Duration = Duration::from_millis(20);

/// The one that listens for Ctrl-C, and what it finds begun.
#[derive(Debug)]
pub(crate) struct Interrupt {
    asked: CancellationToken,
    begun: Mutex<Begun>,
}

impl Interrupt {
    pub(crate) fn new() -> Self {
        Self { asked: CancellationToken::new(), begun: Mutex::new(Begun::Nothing) }
    }

    /// Gives a signal that came with an answer the time to be heard, then notes what was begun as [`Self::begin`] does.
    pub(crate) async fn begin_after_answer(&self, begun: Begun) -> Result<(), ClientError> {
        tokio::time::sleep(HEARD_WITHIN).await;
        self.begin(begun)
    }

    /// Notes what was begun; an error after Ctrl-C, so that nothing follows.
    pub(crate) fn begin(&self, begun: Begun) -> Result<(), ClientError> {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = begun;
        self.check()
    }

    /// An error after Ctrl-C.
    pub(crate) fn check(&self) -> Result<(), ClientError> {
        if self.asked.is_cancelled() { Err(self.error()) } else { Ok(()) }
    }

    /// Works until Ctrl-C.
    pub(crate) async fn end<T>(&self, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
        self.end_on(tokio::signal::ctrl_c, work).await
    }

    async fn end_on<T, S: Future<Output = std::io::Result<()>>>(
        &self,
        signal: impl Fn() -> S,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            // What is ready at the same moment is not gone on with.
            biased;
            told = signal() => told?,
            done = &mut work => return done,
        }
        self.asked.cancel();
        if matches!(self.begun(), Begun::Request(_)) {
            tokio::select! {
                biased;
                _ = signal() => {}
                _ = tokio::time::timeout(ANSWER_GRACE, work) => {}
            }
        }
        Err(self.error())
    }

    fn begun(&self) -> Begun {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn error(&self) -> ClientError {
        ClientError::Interrupted(self.begun())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::*;

    /// Work that has begun something when Ctrl-C comes, and is told of its job right after that.
    async fn interrupted(begun: Begun) -> (Begun, bool) {
        let interrupt = Interrupt::new();
        let (signal, answer) = (Notify::new(), Notify::new());
        let (signals, went_on) = (Cell::new(0), Cell::new(false));
        let work = async {
            interrupt.begin(begun)?;
            signal.notify_one();
            answer.notified().await;
            interrupt.begin(Begun::Job("j".to_owned()))?;
            went_on.set(true);
            Ok(())
        };
        let listen = || async {
            if signals.replace(1) > 0 {
                std::future::pending::<()>().await;
            }
            signal.notified().await;
            answer.notify_one();
            Ok(())
        };
        let error = interrupt.end_on(listen, work).await.unwrap_err();
        let ClientError::Interrupted(found) = error else { panic!("{error:?}") };
        (found, went_on.get())
    }

    #[tokio::test]
    async fn nothing_is_begun_after_ctrl_c_and_what_was_is_named() {
        let submission = "s".to_owned();
        assert_eq!(interrupted(Begun::Upload).await, (Begun::Upload, false));
        assert_eq!(
            interrupted(Begun::Submission(submission.clone())).await,
            (Begun::Submission(submission.clone()), false)
        );
        let accepted = interrupted(Begun::Request(submission)).await;
        assert_eq!(accepted, (Begun::Job("j".to_owned()), false), "the answer is waited for, and not gone on with");
    }
}
