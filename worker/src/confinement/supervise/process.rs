//! The program of a job: started with nothing but what it needs, waited for, and ended as a whole.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::confinement::limits::Breach;
use crate::confinement::{COMMAND, Order, SUPERVISOR_KILLED, Spec, SupervisorReport};
use crate::job::interrupt::{Interrupt, Reason};
use crate::recovery::leftovers::kill_marked;
use crate::recovery::orphans::kill_orphans;

/// This very program, even if its file was replaced since.
const SUPERVISOR: &str = "/proc/self/exe";
/// How long the supervisor may take to start the program.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a supervisor whose tree is gone may take to end.
const LAST_STEP: Duration = Duration::from_secs(1);
/// How long a tree that was killed may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How a program that is to end is told so: SIGINT, then SIGTERM, then SIGKILL, each to its whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graces {
    /// How long it may take after SIGINT.
    pub interrupt: Duration,
    /// How long it may take after SIGTERM.
    pub terminate: Duration,
}

/// How a program came to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It ran longer than it may.
    TimedOut,
    /// It was stopped.
    Interrupted(Reason),
    /// It took too much of something, and was killed.
    Exceeded(Breach),
}

/// The status of a process that was killed, as `wait` gives it.
const KILLED: i32 = 9;

/// A program that runs below its supervisor. Dropping it has the supervisor kill the tree.
#[derive(Debug)]
pub(crate) struct Process {
    supervisor: Child,
    orders: OwnedWriteHalf,
    reports: Lines<BufReader<OwnedReadHalf>>,
    marker: String,
    /// How the supervisor ended, if it did before its tree and by itself.
    gave_up: Option<ExitStatus>,
}

/// Whether a supervisor ended by itself, and was not killed, nor the inner one of two.
fn gave_up(status: ExitStatus) -> bool {
    status.code().is_some_and(|code| code != i32::from(SUPERVISOR_KILLED))
}

/// The end of the program itself; what it started may still be there.
#[derive(Debug, Clone, Copy)]
struct Exit {
    status: ExitStatus,
    /// Whether it had been told to end before.
    ordered: bool,
}

impl Process {
    /// Starts a program, every process of which bears this marker: as a
    /// [`Mark`](crate::confinement::supervise::mark::Mark), and in its environment.
    pub(crate) async fn start(spec: &Spec, marker: &str) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let supervisor = Command::new(SUPERVISOR)
            .arg(COMMAND)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (reading, orders) = UnixStream::from_std(ours)?.into_split();
        let reports = BufReader::new(reading).lines();
        let mut process = Self { supervisor, orders, reports, marker: marker.to_owned(), gave_up: None };
        process.send(spec).await?;
        match timeout(START_LIMIT, process.report()).await {
            Ok(Ok(Some(SupervisorReport::Started))) => Ok(process),
            Ok(Ok(Some(SupervisorReport::NotStarted(error)))) => Err(io::Error::other(error)),
            Ok(Ok(_)) => Err(io::Error::other("its supervisor ended early")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other(format!("its supervisor did not start it within {START_LIMIT:?}"))),
        }
    }

    /// Its output streams, the first time.
    pub(crate) fn streams(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        self.supervisor.stdout.take().zip(self.supervisor.stderr.take())
    }

    /// The id of its supervisor's process; none once that was waited for.
    pub(crate) fn supervisor(&self) -> Option<i32> {
        self.supervisor.id().and_then(|id| i32::try_from(id).ok())
    }

    /// Waits for its end, or brings it about, and returns when nothing of its tree is left.
    ///
    /// `at_once` cuts all graces short; a `breach` gives none.
    pub(crate) async fn finish(
        &mut self,
        limit: Duration,
        interrupt: &Interrupt,
        graces: Graces,
        at_once: &CancellationToken,
        breach: impl Future<Output = Breach>,
    ) -> io::Result<Ended> {
        let ended = tokio::select! {
            biased;
            exit = self.exit() => Ended::Exited(exit?.status),
            reason = interrupt.raised() => self.stop(Ended::Interrupted(reason), graces, at_once).await?,
            breach = breach => {
                self.order(Order::Kill).await;
                Ended::Exceeded(breach)
            }
            () = sleep(limit) => self.stop(Ended::TimedOut, graces, at_once).await?,
        };
        self.vanish().await?;
        Ok(match (ended, self.gave_up) {
            (Ended::Exited(_), Some(status)) => {
                Ended::Exceeded(Breach::Platform(format!("its supervisor gave up: {status}")))
            }
            (ended, _) => ended,
        })
    }

    /// Has it end. What ended by itself before it was told to has its own outcome.
    async fn stop(&mut self, why: Ended, graces: Graces, at_once: &CancellationToken) -> io::Result<Ended> {
        if !matches!(why, Ended::Interrupted(Reason::Lost)) {
            for (order, grace) in [(Order::Interrupt, graces.interrupt), (Order::Terminate, graces.terminate)] {
                if at_once.is_cancelled() {
                    break;
                }
                self.order(order).await;
                let exit = tokio::select! {
                    exit = timeout(grace, self.exit()) => exit.ok().transpose()?,
                    () = at_once.cancelled() => None,
                };
                match exit {
                    Some(Exit { status, ordered: false }) => return Ok(Ended::Exited(status)),
                    Some(_) => return Ok(why),
                    None => {}
                }
            }
        }
        self.order(Order::Kill).await;
        Ok(why)
    }

    /// Waits for the end of the program itself.
    async fn exit(&mut self) -> io::Result<Exit> {
        loop {
            match self.report().await? {
                Some(SupervisorReport::Exited { status, ordered }) => {
                    return Ok(Exit { status: ExitStatus::from_raw(status), ordered });
                }
                Some(_) => {}
                // Somebody killed the supervisor: whoever did has ended the run with it. One that gave up by itself lacked
                // something.
                None => {
                    let status = timeout(LAST_STEP, self.supervisor.wait()).await;
                    self.gave_up = status.ok().and_then(Result::ok).filter(|status| gave_up(*status));
                    return Ok(Exit { status: ExitStatus::from_raw(KILLED), ordered: false });
                }
            }
        }
    }

    /// Waits until nothing of its tree is left.
    async fn vanish(&mut self) -> io::Result<()> {
        let empty = async {
            loop {
                match self.report().await? {
                    Some(SupervisorReport::Empty) => return Ok(true),
                    Some(_) => {}
                    None => return io::Result::Ok(false),
                }
            }
        };
        if matches!(timeout(KILL_LIMIT, empty).await, Ok(Ok(true))) {
            // It has nothing left to do, unless somebody has stopped it.
            if timeout(LAST_STEP, self.supervisor.wait()).await.is_err() {
                self.supervisor.kill().await?;
            }
            return Ok(());
        }
        // It may have been stopped by the job.
        let _ = self.supervisor.start_kill();
        tracing::warn!("the job's supervisor is gone or can't end its processes; searching them by their mark");
        let mut survivors = kill_marked(&self.marker).await;
        // A process may have dropped its marker.
        survivors.extend(kill_orphans().await);
        match survivors {
            survivors if survivors.is_empty() => Ok(()),
            survivors => Err(io::Error::other(format!("processes of the job do not die: {survivors:?}"))),
        }
    }

    async fn order(&mut self, order: Order) {
        // A supervisor that is gone is noticed by its reports.
        let _ = self.send(&order).await;
    }

    async fn send(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.orders.write_all(&line).await
    }

    /// The next report; none once the supervisor is gone.
    async fn report(&mut self) -> io::Result<Option<SupervisorReport>> {
        match self.reports.next_line().await {
            Ok(Some(line)) => Ok(Some(serde_json::from_str(&line)?)),
            Ok(None) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}
