//! Removes what was kept for long enough: jobs, the submissions of the last of them, submissions that nobody used, and
//! files that no record tells of.
//!
//! One process at a time walks from the oldest on, a bounded part of it a walk, and goes on there at its next. What it
//! removes it removes in an order in which a crash leaves nothing that is told of and not there: a job's files first
//! and its record after them, for the job has ended and nothing reads on; a submission's record first and its files
//! after it, for a job may come until the commit says that none can.

use std::sync::Arc;
use std::time::Duration;

use events::execute::{self, ExecuteError, JobExecutor, Origin};
use events::policy::{LivePolicy, Policy};
use events::ports::{
    ArtifactPort, EventLogPort, Ids, LogPort, PageCursor, PortError, RecordsPort, StorageError, StoragePort,
};
use events::problem::chain;
use events::{Actor, Guard, Job, JobCommand, JobId, SubmissionCommand, SubmissionId, Timestamp, submission};
use metrics::counter;
use tokio::time::sleep;

use crate::outage::Outage;
use crate::services::clock_guard::ClockGuard;
use crate::services::leader_lease::LeaderLease;

/// How many records are read at a time, and how often in one walk.
const PAGE: usize = 200;
const PAGES_A_WALK: usize = 10;
/// How long files are left alone that no record tells of: their submission may be about to be committed.
const UNKNOWN_FOR: Duration = Duration::from_hours(1);

/// What an expirer asks of the outside world.
#[derive(Clone)]
pub struct ExpirerPorts {
    /// The log of events.
    pub log: Arc<dyn EventLogPort>,
    /// Records from the oldest on.
    pub records: Arc<dyn RecordsPort>,
    /// The files of submissions.
    pub storage: Arc<dyn StoragePort>,
    /// What jobs printed.
    pub logs: Arc<dyn LogPort>,
    /// What they left.
    pub artifacts: Arc<dyn ArtifactPort>,
    /// Chance.
    pub ids: Arc<dyn Ids>,
}

/// Walks, and remembers how far the walk before came.
pub struct Expirer {
    ports: ExpirerPorts,
    policy: Arc<LivePolicy>,
    reached: Reached,
    clock: ClockGuard,
}

/// Up to where all was looked at; none at the beginning.
#[derive(Default)]
struct Reached {
    job: Option<PageCursor<JobId>>,
    submission: Option<PageCursor<SubmissionId>>,
    files: Option<SubmissionId>,
}

/// What a walk removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Jobs with their logs, results and artifacts.
    pub jobs: u64,
    /// Submissions with their files.
    pub submissions: u64,
    /// Files that no submission was of.
    pub leftovers: u64,
}

/// Expires for as long as the future is polled, whenever this process leads.
pub(crate) async fn run(mut expirer: Expirer, lease: LeaderLease, interval: Duration) {
    let mut outage = Outage::of("removing expired jobs and submissions");
    loop {
        sleep(interval.mul_f64(expirer.ports.ids.jitter())).await;
        let walked = match lease.take().await {
            Ok(true) => expirer.walk().await.map(drop),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        match walked {
            Ok(()) => outage.over(),
            Err(error) => outage.note(&error),
        }
    }
}

impl Expirer {
    /// One that has not walked yet.
    #[must_use]
    pub fn new(ports: ExpirerPorts, policy: Arc<LivePolicy>) -> Self {
        Self { ports, policy, reached: Reached::default(), clock: ClockGuard::default() }
    }

    /// Looks at a part of everything, from where the walk before ended, and removes what has been there for long
    /// enough.
    ///
    /// # Errors
    /// If Redis or the files can't be reached. The next walk goes on after what could not be removed, and comes back
    /// to it.
    pub async fn walk(&mut self) -> Result<Removed, PortError> {
        let mut removed = Removed::default();
        if !self.clock.trusts(self.ports.log.load_policy().await?.now) {
            tracing::warn!("Redis's clock has jumped ahead: nothing is removed until it is set right, or for a day");
            return Ok(removed);
        }
        // What fails with one of them may work with the others.
        let jobs = self.walk_jobs(&mut removed).await;
        let submissions = self.walk_submissions(&mut removed).await;
        let files = self.walk_files(&mut removed).await;
        tell(&removed);
        jobs.and(submissions).and(files).map(|()| removed)
    }

    async fn walk_jobs(&mut self, removed: &mut Removed) -> Result<(), PortError> {
        let policy = self.policy.get();
        for _ in 0..PAGES_A_WALK {
            let page = self.ports.records.old_jobs(policy.retention, self.reached.job, PAGE).await?;
            for job in page.jobs.iter().filter(|job| is_over(job, &policy, page.now)) {
                self.reached.job = Some(PageCursor { created_ms: job.created_at.timestamp_millis(), id: job.id });
                removed.jobs += u64::from(passed_over(self.remove_job(job, &policy).await, &job.id)?);
                let submission = job.spec.submission;
                let gone = self.remove_submission(submission, &policy).await;
                removed.submissions += u64::from(passed_over(gone, &submission)?);
            }
            self.reached.job = page.next;
            if page.next.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn walk_submissions(&mut self, removed: &mut Removed) -> Result<(), PortError> {
        let policy = self.policy.get();
        for _ in 0..PAGES_A_WALK {
            let after = self.reached.submission;
            let page = self.ports.records.old_submissions(policy.submission_ttl, after, PAGE).await?;
            self.reached.submission = page.next;
            for id in page.unused {
                removed.submissions += u64::from(passed_over(self.remove_submission(id, &policy).await, &id)?);
            }
            if page.next.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// One page of the folders that there are.
    async fn walk_files(&mut self, removed: &mut Removed) -> Result<(), PortError> {
        if self.reached.files.is_none() {
            self.ports.storage.remove_stale().await.map_err(unreachable_files)?;
            self.ports.artifacts.remove_stale().await?;
        }
        let page = self.ports.storage.published(self.reached.files, PAGE, UNKNOWN_FOR).await;
        let page = page.map_err(unreachable_files)?;
        self.reached.files = page.next;
        let mut done = Ok(());
        for id in self.ports.records.unknown(&page.ids).await? {
            // A folder that can't be deleted keeps no other.
            match self.ports.storage.delete(id).await {
                Ok(()) => removed.leftovers += 1,
                Err(error) => done = done.and(Err(unreachable_files(error))),
            }
        }
        done
    }

    /// Whether it was there to be removed.
    async fn remove_job(&self, job: &Job, policy: &Policy) -> Result<bool, PortError> {
        let (log, jitter) = (&*self.ports.log, self.ports.ids.jitter());
        let files = JobFiles { logs: &*self.ports.logs, artifacts: &*self.ports.artifacts };
        match remove_job(log, files, policy, &origin(), job, jitter).await {
            Ok(()) => Ok(true),
            // It was replayed meanwhile, or somebody else was faster.
            Err(ExecuteError::Rejected(_) | ExecuteError::GuardFailed(_)) => Ok(false),
            Err(ExecuteError::Defect(problem)) => Err(PortError::Corrupt(problem)),
            Err(error) => Err(PortError::Unavailable(chain(&error).into())),
        }
    }

    /// Whether no job was of it and it is gone now, with its files.
    async fn remove_submission(&self, id: SubmissionId, policy: &Policy) -> Result<bool, PortError> {
        let expire = SubmissionCommand::Expire;
        match execute::submission(&*self.ports.log, policy, &origin(), id, &expire).await {
            Ok(()) => {}
            // Somebody else was faster; or the answer was lost, and the commit found made when it was tried again.
            Err(ExecuteError::Rejected(submission::Rejection::Unknown)) => {
                if self.ports.records.unknown(&[id]).await?.is_empty() {
                    return Ok(false);
                }
            }
            Err(ExecuteError::Rejected(_)) => return Ok(false),
            Err(ExecuteError::Defect(problem)) => return Err(PortError::Corrupt(problem)),
            Err(error) => return Err(PortError::Unavailable(chain(&error).into())),
        }
        self.ports.storage.delete(id).await.map(|()| true).map_err(unreachable_files)
    }
}

/// Whether it was removed. What can't be read stays, and keeps nothing else.
fn passed_over(removed: Result<bool, PortError>, what: &impl std::fmt::Display) -> Result<bool, PortError> {
    match removed {
        Err(PortError::Corrupt(problem)) => {
            tracing::error!(%what, %problem, "an expired record can't be read, and stays");
            Ok(false)
        }
        removed => removed,
    }
}

/// The files of jobs, beside those of their submissions.
#[derive(Clone, Copy)]
pub struct JobFiles<'a> {
    /// What they printed.
    pub logs: &'a dyn LogPort,
    /// What they left.
    pub artifacts: &'a dyn ArtifactPort,
}

/// Removes a job that has ended, as it was seen: first what it left and printed, then its record.
///
/// # Errors
/// As of a command on a job; and if its files can't be removed, which leaves its record.
pub async fn remove_job(
    log: &dyn EventLogPort,
    files: JobFiles<'_>,
    policy: &Policy,
    origin: &Origin,
    job: &Job,
    jitter: f64,
) -> Result<(), ExecuteError<events::job::Rejection>> {
    let unavailable = |error: PortError| match error {
        PortError::Corrupt(problem) => ExecuteError::Defect(problem),
        PortError::Unavailable(why) => ExecuteError::Unavailable(why),
    };
    let seen = Guard::JobAt { job: job.id, version: job.version };
    // It was read among many, some time ago: one that runs again by now keeps its files.
    let now = log.load_job(job.id).await.map_err(unavailable)?.state;
    if now.is_none_or(|now| now.version != job.version) {
        return Err(ExecuteError::GuardFailed(seen));
    }
    files.artifacts.delete(job.id).await.map_err(unavailable)?;
    files.logs.delete(job.id).await.map_err(unavailable)?;
    let expire = JobExecutor { log, policy, origin, jitter, seen: Some(&seen) };
    expire.execute(job.id, &JobCommand::Expire).await.map(drop)
}

/// Whether a job ended as long ago as jobs are kept.
fn is_over(job: &Job, policy: &Policy, now: Timestamp) -> bool {
    let age = job.ended_at().and_then(|at| (now - at).to_std().ok());
    age.is_some_and(|age| age >= policy.retention)
}

fn origin() -> Origin {
    Origin { actor: Actor::System("expirer".to_owned()), trace: None }
}

fn unreachable_files(error: StorageError) -> PortError {
    PortError::Unavailable(chain(&error).into())
}

fn tell(removed: &Removed) {
    if *removed == Removed::default() {
        return;
    }
    let Removed { jobs, submissions, leftovers } = *removed;
    tracing::info!(jobs, submissions, leftovers, "deleted expired records");
    for (what, count) in [("jobs", jobs), ("submissions", submissions), ("leftovers", leftovers)] {
        counter!("leadersboard_expired_total", "what" => what).increment(count);
    }
}
