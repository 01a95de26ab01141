//! Runs one confined program: starts it, listens to it, holds it to its limits, and returns when nothing of it is left.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::process::{ChildStderr, ChildStdout};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::confinement::Spec;
use crate::confinement::confine::Confinement;
use crate::confinement::limits::LimitWatch;
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::sandbox::Sandbox;
use crate::confinement::supervise::process::{Ended, Graces, Process};
use crate::job::interrupt::Interrupt;

/// How long the output is read after the program has ended: an orphan may hold the streams open.
pub(crate) const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How long a program may run, and how it is told to end.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) limit: Duration,
    pub(crate) graces: Graces,
    pub(crate) interrupt: &'a Interrupt,
    /// Cuts the graces short.
    pub(crate) at_once: &'a CancellationToken,
}

/// What looks at a program while it runs.
pub(crate) trait Observer: Sync {
    /// Looks for as long as the future is polled.
    fn observe(&self, watch: &LimitWatch<'_>) -> impl Future<Output = Infallible> + Send;
}

/// Nothing looks.
impl Observer for () {
    async fn observe(&self, _: &LimitWatch<'_>) -> Infallible {
        std::future::pending().await
    }
}

/// A confined program that has started. Dropping it kills the program with all its children.
pub(crate) struct Confined<'a> {
    sandbox: &'a Sandbox,
    confinement: Confinement,
    directory: &'a RunDirectory,
    process: Process,
}

impl<'a> Confined<'a> {
    /// Starts a program. `marker` marks each of its processes.
    ///
    /// # Errors
    /// If the program can't be started; the text says why.
    pub(crate) async fn start(
        sandbox: &'a Sandbox,
        confinement: Confinement,
        directory: &'a RunDirectory,
        spec: &Spec,
        marker: &str,
    ) -> io::Result<Self> {
        let process = Process::start(spec, marker).await?;
        Ok(Self { sandbox, confinement, directory, process })
    }

    /// Waits until the program has ended, or ends it by its `terms` and limits, and returns when nothing of it is left.
    ///
    /// A task of its own runs `listen`, to which the output streams belong. The second value is what `listen` returned,
    /// `None` if a process that outlived the program still holds a stream open.
    ///
    /// # Errors
    /// If processes of the program may still be there. Nobody gets its user or its turn then.
    pub(crate) async fn finish<T, L>(
        mut self,
        terms: Terms<'_>,
        listen: impl FnOnce(ChildStdout, ChildStderr) -> L,
        observer: &impl Observer,
    ) -> (io::Result<Ended>, Option<T>)
    where
        T: Send + 'static,
        L: Future<Output = T> + Send + 'static,
    {
        let listening = self.process.streams().map(|(output, errors)| tokio::spawn(listen(output, errors)));
        let listening = listening.map(AbortOnDropHandle::new);
        let watch = LimitWatch::of(&self.confinement, &self.process, self.directory, &self.sandbox.counter);
        let Terms { limit, graces, interrupt, at_once } = terms;
        let ended = tokio::select! {
            ended = self.process.finish(limit, interrupt, graces, at_once, watch.breach()) => ended,
            never = observer.observe(&watch) => match never {},
        };
        drop(watch);
        let ended = match ended {
            Ok(ended) => Ok(self.confinement.close(ended, self.directory)),
            Err(error) => {
                self.sandbox.abandon(self.confinement);
                Err(error)
            }
        };
        let heard = match listening {
            Some(listening) => timeout(LAST_OUTPUT, listening).await.ok().and_then(Result::ok),
            None => None,
        };
        (ended, heard)
    }
}
