//! What holds for every job, whatever is asked of it and in whichever order.
//!
//! A small world of one job, its work stream and its lease takes steps at random: workers with current, old and
//! unknown fences, requests sent again, a due time that comes. Whatever [`decide`] lets happen is checked against a
//! history kept beside the fold, so that the fold does not vouch for itself. `cargo test` prints the shortest list of
//! [`Step`]s that breaks a rule.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::failure::{DeadLetterKind, Failure, FailureKind, LossCause};
use crate::guard::{Guard, Lane, Ticket, WorkChange};
use crate::id::{Consumer, Fence, JobId, RequestId, SubmissionId, UserId};
use crate::log::envelope::{Actor, Envelope, StreamId};
use crate::log::stored::{Recorded, StoredEvent};
use crate::policy::{MAX_WORKERS_LOST, Policy};
use crate::quota::Usage;
use crate::results::Results;
use crate::time::{Timestamp, from_unix_micros};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Every rule of [`World::check`] after every step; at the end, nothing is left that nobody would clear away.
    #[test]
    fn no_order_of_commands_breaks_a_rule(
        beginning in beginning(),
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let mut world = World::new(beginning)?;
        for step in &steps {
            world.take(step)?;
        }
        world.settle()?;
    }

    /// The fold takes any events in any order, and what it makes of them holds together.
    #[test]
    fn the_fold_refuses_nothing(events in prop::collection::vec((any_event(), 0..100_u64), 0..60)) {
        let mut job = None;
        for (event, seq) in events {
            let envelope = envelope(seq, from_unix_micros(0), event);
            job = evolve(job_id(), job, &envelope);
            if let Some(job) = &job {
                prop_assert_eq!(job.version, seq);
                prop_assert_eq!(job.current_fence().is_some(), job.status() == JobStatus::Running);
                prop_assert_eq!(job.run.is_some(), !job.fences.is_empty());
                prop_assert_eq!(job.is_terminal(), job.ended_at().is_some());
            }
        }
    }
}

/// One thing that befalls the job. Small numbers stand for fences, tickets and requests, so that a failure reads well.
#[derive(Debug, Clone)]
enum Step {
    Others(Others),
    Dispatch,
    Start {
        fence: By,
        /// How many tickets were added since this one.
        back: u64,
    },
    Complete(By, Inline),
    Fail(By),
    LoseLease(By, LossCause, Jitter),
    Cancel,
    ForceCancel,
    AcknowledgeCancel(By),
    Replay {
        request: u8,
    },
    Track(By, u8),
    Enqueue {
        config: u8,
    },
    Expire,
    /// The command this many steps back once more, as a caller sends it whose answer was lost.
    Again {
        back: usize,
    },
}

/// Whose fence a command carries.
#[derive(Clone, Copy)]
enum By {
    /// The current one; where none is, the last one.
    Current,
    /// One of a few, used before or not.
    Pool(u8),
    /// One never seen.
    Fresh,
}

/// On one line, however deep it stands in a list of steps.
impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("Current"),
            Self::Pool(number) => write!(f, "Pool({number})"),
            Self::Fresh => f.write_str("Fresh"),
        }
    }
}

/// Whether a completion brings the tracker's record with it.
#[derive(Debug, Clone, Copy)]
enum Inline {
    Tracked,
    Untracked,
}

/// The jitter of a retry, in parts of a billion; beyond 800 to 1,200 million it is a caller's mistake.
type Jitter = u32;

/// How the job came to be.
#[derive(Debug, Clone, Copy)]
enum Beginning {
    Absent,
    Enqueued,
    /// No decision holds a job yet, but the log may have one.
    Held,
}

fn beginning() -> impl Strategy<Value = Beginning> {
    prop_oneof![
        8 => Just(Beginning::Enqueued),
        1 => Just(Beginning::Held),
        1 => Just(Beginning::Absent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Most ends are for good, so they weigh little: a walk is to come as far as a replay of a dead letter.
    prop_oneof![
        25 => Just(Step::Dispatch),
        6 => prop_oneof![2 => Just(Others::Idle), 1 => Just(Others::Busy)].prop_map(Step::Others),
        30 => (start_by(), ticket()).prop_map(|(fence, back)| Step::Start { fence, back }),
        1 => (by(), inline()).prop_map(|(by, inline)| Step::Complete(by, inline)),
        3 => by().prop_map(Step::Fail),
        30 => (by(), cause(), 500_000_000..1_500_000_000_u32).prop_map(|(by, cause, jitter)| Step::LoseLease(by, cause, jitter)),
        1 => Just(Step::Cancel),
        1 => Just(Step::ForceCancel),
        4 => by().prop_map(Step::AcknowledgeCancel),
        12 => (0..6_u8).prop_map(|request| Step::Replay { request }),
        4 => (by(), 0..3_u8).prop_map(|(by, run)| Step::Track(by, run)),
        2 => (0..2_u8).prop_map(|config| Step::Enqueue { config }),
        1 => Just(Step::Expire),
        8 => (1..6_usize).prop_map(|back| Step::Again { back }),
    ]
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![3 => Just(By::Current), 1 => (0..6_u8).prop_map(By::Pool)]
}

fn start_by() -> impl Strategy<Value = By> {
    prop_oneof![2 => Just(By::Fresh), 1 => (0..6_u8).prop_map(By::Pool)]
}

fn ticket() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 1 => 1..4_u64]
}

fn inline() -> impl Strategy<Value = Inline> {
    prop_oneof![Just(Inline::Untracked), Just(Inline::Tracked)]
}

fn cause() -> impl Strategy<Value = LossCause> {
    prop_oneof![
        1 => Just(LossCause::Drain),
        1 => Just(LossCause::WorkerUnfit),
        3 => Just(LossCause::Infrastructure),
        3 => Just(LossCause::WorkerLost),
    ]
}

/// One job with all that surrounds it.
struct World {
    policy: Policy,
    now: Timestamp,
    job: Option<Job>,
    /// Every event since the beginning: what the rules are checked against.
    history: Vec<JobEvent>,
    /// Every command so far, to be sent again.
    sent: Vec<JobCommand>,
    /// The tickets in the work stream, claimed or not.
    stream: BTreeSet<u64>,
    /// How many tickets were ever added; the next one's number.
    tickets: u64,
    /// The lease, as the fence and ticket it was taken with.
    lease: Option<(Fence, u64)>,
    fresh_fences: u64,
    /// Whether other jobs of its user's have all the slots, so that it is held.
    others: Others,
}

/// What other jobs of the same user's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Idle,
    Busy,
}

impl World {
    fn new(beginning: Beginning) -> Result<Self, TestCaseError> {
        let mut world = Self {
            policy: Policy::default(),
            now: from_unix_micros(1_700_000_000_000_000),
            job: None,
            history: vec![],
            sent: vec![],
            stream: BTreeSet::new(),
            tickets: 0,
            lease: None,
            fresh_fences: 0,
            others: Others::Idle,
        };
        match beginning {
            Beginning::Absent => {}
            Beginning::Enqueued => world.take(&Step::Enqueue { config: 0 })?,
            Beginning::Held => world.record(vec![JobEvent::Enqueued { spec: spec(0), dispatched: false }])?,
        }
        Ok(world)
    }

    fn take(&mut self, step: &Step) -> TestCaseResult {
        self.now += Duration::from_micros(7_300_001);
        let jitter = match step {
            Step::LoseLease(_, _, billionths) => f64::from(*billionths) / 1e9,
            _ => 1.0,
        };
        let Some(command) = self.command(step) else {
            return Ok(());
        };
        self.sent.push(command.clone());
        self.send(&command, jitter)
    }

    /// Decides a command, lets it happen, and checks every rule; nothing is then left for it to do.
    fn send(&mut self, command: &JobCommand, jitter: f64) -> TestCaseResult {
        let usage = self.usage();
        let context = Context { now: self.now, policy: &self.policy, usage: &usage, jitter };
        match decide(job_id(), self.job.as_ref(), command, &context) {
            Ok(Decision::Happens { events, guards, work, lane }) => {
                check_surroundings(&events, &guards, lane)?;
                let before = self.history.len();
                let expiring = matches!(command, JobCommand::Expire);
                self.record(events)?;
                self.apply(work)?;
                self.check(before)?;
                let context = Context { now: self.now, policy: &self.policy, usage: &usage, jitter };
                let again = decide(job_id(), self.job.as_ref(), command, &context);
                let expected = match self.history.last() {
                    _ if expiring => Err(Rejection::Unknown),
                    Some(JobEvent::Held {}) => Err(Rejection::NoSlot),
                    Some(JobEvent::Tracked { fence, .. }) if !self.is_last(fence.as_ref()) => {
                        Err(Rejection::NothingToTrack)
                    }
                    _ => Ok(Decision::AlreadyApplied),
                };
                prop_assert_eq!(again, expected, "{:?} happens once", command);
            }
            Ok(Decision::AlreadyApplied) => self.check_was_applied(command)?,
            Err(refusal) => self.refused(command, &refusal)?,
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let own = u64::from(self.job.as_ref().is_some_and(Job::holds_slot));
        let others = u64::from(self.others == Others::Busy);
        Usage { active: own + others, ..Usage::default() }
    }

    fn command(&mut self, step: &Step) -> Option<JobCommand> {
        let fences = |job: &Option<Job>| job.iter().flat_map(|job| job.fences.clone()).last();
        let mut fence = |by: By| match by {
            By::Current => fences(&self.job).unwrap_or_else(|| pool_fence(0)),
            By::Pool(number) => pool_fence(number),
            By::Fresh => {
                self.fresh_fences += 1;
                fresh_fence(self.fresh_fences)
            }
        };
        Some(match step {
            Step::Others(others) => {
                self.others = *others;
                return None;
            }
            Step::Dispatch => JobCommand::Dispatch,
            Step::Start { fence: by, back } => {
                // A worker has only a ticket that was in the stream once.
                let ticket = self.tickets.checked_sub(back + 1)?;
                start(fence(*by), ticket)
            }
            Step::Complete(by, inline) => JobCommand::Complete {
                fence: fence(*by),
                results: Results::default(),
                artifacts: ArtifactTotals::default(),
                tracked: match inline {
                    Inline::Tracked => Some(run_record(0)),
                    Inline::Untracked => None,
                },
            },
            Step::Fail(by) => JobCommand::Fail { fence: fence(*by), failure: failure() },
            Step::LoseLease(by, cause, _) => {
                JobCommand::LoseLease { fence: fence(*by), cause: *cause, error: "lost".to_owned() }
            }
            Step::Cancel => JobCommand::RequestCancel { by: user(), force: CancelMode::Graceful },
            Step::ForceCancel => JobCommand::RequestCancel { by: user(), force: CancelMode::Force },
            // A worker says so only when it was told so.
            Step::AcknowledgeCancel(by) => {
                self.job.as_ref()?.cancel_requested_by.as_ref()?;
                JobCommand::AcknowledgeCancel { fence: fence(*by) }
            }
            Step::Replay { request } => {
                JobCommand::Replay { by: user(), why: "once more".to_owned(), request: request_id(*request) }
            }
            Step::Track(by, run) => JobCommand::Track { fence: fence(*by), run: run_record(*run) },
            // An id is drawn once: what expired is not enqueued again.
            Step::Enqueue { .. } if self.has_expired() => return None,
            Step::Enqueue { config } => JobCommand::Enqueue(spec(*config)),
            Step::Expire => JobCommand::Expire,
            Step::Again { back } => {
                let command = self.sent[self.sent.len().checked_sub(*back)?].clone();
                match command {
                    JobCommand::Enqueue(_) if self.has_expired() => return None,
                    other => other,
                }
            }
        })
    }

    fn is_last(&self, fence: Option<&Fence>) -> bool {
        self.job.as_ref().and_then(|job| job.fences.last()) == fence
    }

    fn has_expired(&self) -> bool {
        self.history.last() == Some(&JobEvent::Expired {})
    }

    /// Appends events and folds them in, one at a time, as a commit does; each reads back from its stored form.
    fn record(&mut self, events: Vec<JobEvent>) -> TestCaseResult {
        for event in events {
            let before = self.job.clone();
            let version = before.as_ref().map_or(0, |job| job.version);
            let envelope = envelope(version + 1, self.now, event.clone());
            let read = StoredEvent::of_job(job_id(), &envelope).read();
            let Ok(Recorded::Job(id, read)) = read else {
                return Err(TestCaseError::fail(format!("{event:?} reads as {read:?}")));
            };
            prop_assert_eq!((id, read), (job_id(), envelope.clone()));

            self.job = evolve(job_id(), before.clone(), &envelope);
            self.history.push(event.clone());
            check_step_of_status(before.as_ref(), &event, self.job.as_ref())?;
        }
        Ok(())
    }

    /// Does to the work stream and the lease what the commit script does.
    fn apply(&mut self, work: Vec<WorkChange>) -> TestCaseResult {
        for change in work {
            match change {
                WorkChange::AddTicket { class, job } => {
                    prop_assert_eq!((class, job), (spec(0).class, job_id()));
                    self.stream.insert(self.tickets);
                    self.tickets += 1;
                }
                WorkChange::TakeLease { fence, ticket, .. } => {
                    prop_assert_eq!(&self.lease, &None, "a lease is taken over a lease");
                    self.lease = Some((fence, ticket.id.ms));
                }
                WorkChange::ReleaseLease { job } => {
                    prop_assert_eq!(job, job_id());
                    let Some((_, ticket)) = self.lease.take() else {
                        return Err(TestCaseError::fail("no lease to release"));
                    };
                    self.stream.remove(&ticket);
                }
            }
        }
        Ok(())
    }

    /// A worker whose ticket is out of date removes it, unless the current run is held on that very ticket.
    fn refused(&mut self, command: &JobCommand, refusal: &Rejection) -> TestCaseResult {
        prop_assert_eq!(self.job.is_none(), *refusal == Rejection::Unknown);
        if let (JobCommand::Start(start), Rejection::NotStartable | Rejection::Unknown) = (command, refusal) {
            let ticket = start.ticket.id.ms;
            let held = self.lease.as_ref().is_some_and(|(_, held)| *held == ticket);
            // A fence used before is a repeated call: its ticket is that of the first one, which has long gone.
            if !held && !self.was_started_under(&start.fence) {
                self.stream.remove(&ticket);
            }
        }
        Ok(())
    }

    /// The rules that hold after every commit; `new` is where its events begin.
    fn check(&self, new: usize) -> TestCaseResult {
        check_history(&self.history)?;
        let last = self.history.last();
        prop_assert!(
            !matches!(last, Some(JobEvent::LeaseLost { .. })),
            "a lost lease says in the same commit what comes next"
        );
        let Some(job) = &self.job else {
            prop_assert_eq!(last, Some(&JobEvent::Expired {}));
            return Ok(());
        };
        prop_assert_eq!(job.version, self.history.len() as u64, "a version is left out");
        let fences: Vec<_> = self.history.iter().filter_map(started_under).cloned().collect();
        prop_assert_eq!(&job.fences, &fences, "every start and no other has its fence kept");

        prop_assert_eq!(
            self.lease.as_ref().map(|(fence, _)| fence),
            job.current_fence(),
            "a lease is held while the job runs, under its fence, and at no other time"
        );
        match job.state {
            JobState::Pending(Waiting::Dispatched(_)) => {
                prop_assert!(!self.stream.is_empty(), "a dispatched job has a ticket");
            }
            // While it waits, an earlier end of it may be recorded.
            JobState::Pending(Waiting::Delayed(due)) if is_retry(&self.history[new..]) => self.check_due(due)?,
            JobState::Cancelled(_) => {
                prop_assert!(job.cancel_requested_by.is_some(), "nobody asked for this end");
            }
            JobState::Pending(Waiting::Held | Waiting::Delayed(_))
            | JobState::Running
            | JobState::Completed(_)
            | JobState::Failed(_)
            | JobState::DeadLettered(_) => {}
        }
        self.check_account(job)?;
        if !job.is_terminal() {
            prop_assert!(job.losses.worker_lost < MAX_WORKERS_LOST);
            prop_assert!(job.losses.infrastructure <= self.policy.max_retries);
        }
        self.check_drain(&self.history[new..])
    }

    /// What the job remembers of its past is what happened since it was enqueued or last replayed.
    fn check_account(&self, job: &Job) -> TestCaseResult {
        let (mut losses, mut asked, mut tracked, mut replay) = (Losses::default(), false, None, None);
        for event in self.since_replay() {
            match event {
                JobEvent::LeaseLost { cause: LossCause::WorkerLost, .. } => losses.worker_lost += 1,
                JobEvent::LeaseLost { cause: LossCause::Infrastructure, .. } => losses.infrastructure += 1,
                JobEvent::CancelRequested { .. } => asked = true,
                JobEvent::Completed { tracked: inline, .. } => tracked.clone_from(inline),
                JobEvent::Started { .. } => tracked = None,
                JobEvent::Tracked { fence, run } if fence.as_ref() == job.fences.last() => tracked = Some(run.clone()),
                JobEvent::Replayed { request, .. } => replay = Some(*request),
                _ => {}
            }
        }
        let remembered = (job.losses, job.cancel_requested_by.is_some(), &job.tracked, job.replayed_by_request);
        prop_assert_eq!(remembered, (losses, asked, &tracked, replay));
        prop_assert!(!asked || job.status() != JobStatus::Pending, "it waits though its end was asked for");
        let untracked: Vec<&Fence> = job.untracked.iter().map(|end| &end.fence).collect();
        prop_assert_eq!(untracked, self.untracked());
        Ok(())
    }

    /// The runs whose end was to be recorded and was not. A run ends once, whatever follows a replay without a start.
    fn untracked(&self) -> Vec<&Fence> {
        let (mut last, mut waiting) = (None, vec![]);
        for event in &self.history {
            let completed = matches!(event, JobEvent::Completed { .. });
            match event {
                JobEvent::Started { fence, tracking, .. } => last = Some((fence, *tracking)),
                JobEvent::Tracked { fence, .. } => waiting.retain(|waits| Some(*waits) != fence.as_ref()),
                end if is_end(end) => match last.take() {
                    Some((fence, Tracking::All)) => waiting.push(fence),
                    Some((fence, Tracking::Completed)) if completed => waiting.push(fence),
                    _ => {}
                },
                _ => {}
            }
        }
        waiting
    }

    fn since_replay(&self) -> &[JobEvent] {
        let replay = self.history.iter().rposition(|event| matches!(event, JobEvent::Replayed { .. }));
        &self.history[replay.unwrap_or(0)..]
    }

    /// A delay is one of 1, 5 and 25 seconds, a fifth more or less, as it can be stored.
    fn check_due(&self, due: Timestamp) -> TestCaseResult {
        prop_assert_eq!(due.timestamp_subsec_nanos() % 1000, 0, "no whole microsecond");
        let wait = (due - self.now).num_microseconds().unwrap_or(i64::MAX);
        let fits = |base: i64| (base * 800_000..=base * 1_200_000).contains(&wait);
        prop_assert!([1, 5, 25].into_iter().any(fits), "a wait of {} us", wait);
        Ok(())
    }

    /// A drained job waits for nothing and has not lost anything, unless its end was asked for.
    fn check_drain(&self, commit: &[JobEvent]) -> TestCaseResult {
        if let [JobEvent::LeaseLost { cause: LossCause::Drain, .. }, rest @ ..] = commit {
            let at_once = matches!(
                rest,
                [JobEvent::RetryScheduled { at, .. }, JobEvent::Dispatched {}] if *at == self.now
            );
            prop_assert!(at_once || matches!(rest, [JobEvent::Cancelled { .. }]), "{:?}", rest);
        }
        Ok(())
    }

    /// "It took effect before" is true: the history has it.
    fn check_was_applied(&self, command: &JobCommand) -> TestCaseResult {
        let job = self.job.as_ref().expect("what is absent has seen nothing");
        let seen = |what: &dyn Fn(&JobEvent) -> bool| self.since_replay().iter().any(what);
        let applied = match command {
            JobCommand::Enqueue(spec) => job.spec == *spec,
            JobCommand::Dispatch => !self.stream.is_empty() || self.lease.is_some(),
            JobCommand::Start(start) => job.current_fence() == Some(&start.fence),
            JobCommand::Complete { fence, .. } => {
                seen(&|event| matches!(event, JobEvent::Completed { fence: by, .. } if by == fence))
            }
            JobCommand::Fail { fence, .. } => {
                seen(&|event| matches!(event, JobEvent::Failed { fence: by, .. } if by == fence))
            }
            JobCommand::LoseLease { fence, .. } => self.was_started_under(fence) && job.current_fence() != Some(fence),
            JobCommand::RequestCancel { force, .. } => {
                seen(&|event| matches!(event, JobEvent::CancelRequested { .. }))
                    && (*force == CancelMode::Graceful || job.is_terminal())
            }
            JobCommand::AcknowledgeCancel { fence } => {
                seen(&|event| matches!(event, JobEvent::Cancelled { .. })) && job.fences.last() == Some(fence)
            }
            JobCommand::Replay { request, .. } => {
                seen(&|event| matches!(event, JobEvent::Replayed { request: its, .. } if its == request))
            }
            JobCommand::Track { fence, run } => {
                let noted = JobEvent::Tracked { fence: Some(fence.clone()), run: run.clone() };
                seen(&|event| match event {
                    JobEvent::Completed { fence: by, tracked, .. } => by == fence && tracked.as_ref() == Some(run),
                    other => *other == noted,
                })
            }
            JobCommand::Withdraw { .. } => seen(&|event| matches!(event, JobEvent::Cancelled { .. })),
            JobCommand::Expire => false,
        };
        prop_assert!(applied, "{:?} did not take effect before", command);
        Ok(())
    }

    fn was_started_under(&self, fence: &Fence) -> bool {
        self.history.iter().filter_map(started_under).any(|its| its == fence)
    }

    /// Workers claim what is left in the stream: the job runs, or every ticket was in vain. No ticket stays.
    fn settle(&mut self) -> TestCaseResult {
        for ticket in self.stream.clone() {
            if self.lease.as_ref().is_none_or(|(_, held)| *held != ticket) {
                self.fresh_fences += 1;
                let start = start(fresh_fence(self.fresh_fences), ticket);
                self.send(&start, 1.0)?;
            }
        }
        let held: BTreeSet<u64> = self.lease.iter().map(|(_, ticket)| *ticket).collect();
        prop_assert!(self.stream.is_subset(&held), "a ticket that nobody clears away");
        let state = self.job.as_ref().map(|job| &job.state);
        let waits = matches!(state, Some(JobState::Pending(Waiting::Dispatched(_))));
        prop_assert!(!waits, "it waits and no worker can find it");
        Ok(())
    }
}

fn is_retry(commit: &[JobEvent]) -> bool {
    commit.iter().any(|event| matches!(event, JobEvent::RetryScheduled { .. }))
}

fn started_under(event: &JobEvent) -> Option<&Fence> {
    match event {
        JobEvent::Started { fence, .. } => Some(fence),
        _ => None,
    }
}

/// A full Redis may refuse only new work, and only what begins a run depends on the submission.
fn check_surroundings(events: &[JobEvent], guards: &[Guard], lane: Lane) -> TestCaseResult {
    prop_assert!(!events.is_empty(), "something happens, but what");
    let admits = matches!(events, [JobEvent::Enqueued { .. }]);
    prop_assert_eq!(lane == Lane::Admission, admits);
    let begins = matches!(events, [JobEvent::Enqueued { .. } | JobEvent::Replayed { .. }]);
    let ready = guards.contains(&Guard::SubmissionReady(submission()));
    prop_assert_eq!(ready, begins, "{:?}", guards);
    let takes_slot = matches!(
        events,
        [JobEvent::Enqueued { .. } | JobEvent::Replayed { .. } | JobEvent::Dispatched {} | JobEvent::Held {}]
    );
    let about_slot = guards.iter().any(|guard| matches!(guard, Guard::SlotsBelow { .. } | Guard::SlotsFull { .. }));
    prop_assert_eq!(about_slot, takes_slot, "{:?}", guards);
    Ok(())
}

/// The history alone, read by rules that know nothing of the fold.
fn check_history(history: &[JobEvent]) -> TestCaseResult {
    let mut started = BTreeSet::new();
    let mut current: Option<&Fence> = None;
    let mut ended: Option<&JobEvent> = None;
    let (mut last, mut over): (Option<&Fence>, BTreeSet<&Fence>) = (None, BTreeSet::new());
    for (index, event) in history.iter().enumerate() {
        let first = matches!(event, JobEvent::Enqueued { .. });
        prop_assert_eq!(first, index == 0, "enqueued first and once");
        match event {
            JobEvent::Replayed { .. } => {
                let failed = matches!(ended, Some(JobEvent::Failed { .. } | JobEvent::DeadLettered { .. }));
                prop_assert!(failed, "replayed after {:?}", ended);
                ended = None;
            }
            JobEvent::Tracked { fence, .. } => {
                prop_assert!(
                    fence.as_ref().is_some_and(|fence| over.remove(fence)),
                    "tracked before its end, or twice"
                );
            }
            JobEvent::Expired {} => prop_assert!(ended.is_some(), "expired before an end"),
            _ => prop_assert!(ended.is_none(), "{} after {:?}", event.kind(), ended),
        }
        match event {
            JobEvent::Started { fence, .. } => {
                prop_assert!(started.insert(fence), "{} starts twice", fence);
                prop_assert_eq!(current, None, "two runs at once");
                current = Some(fence);
                last = Some(fence);
            }
            JobEvent::Completed { fence, .. } | JobEvent::Failed { fence, .. } | JobEvent::LeaseLost { fence, .. } => {
                prop_assert_eq!(current, Some(fence), "a run ends under a fence not its own");
                current = None;
            }
            JobEvent::Cancelled { .. } => current = None,
            JobEvent::RetryScheduled { attempt, .. } => {
                prop_assert_eq!(*attempt as usize, started.len() + 1, "the next start has another number");
            }
            JobEvent::Enqueued { .. }
            | JobEvent::Dispatched {}
            | JobEvent::Held {}
            | JobEvent::DeadLettered { .. }
            | JobEvent::Replayed { .. }
            | JobEvent::CancelRequested { .. }
            | JobEvent::Tracked { .. }
            | JobEvent::Expired {} => {}
        }
        if is_end(event) {
            over.extend(last);
            ended = Some(event);
        }
    }
    Ok(())
}

fn is_end(event: &JobEvent) -> bool {
    matches!(
        event,
        JobEvent::Completed { .. }
            | JobEvent::Failed { .. }
            | JobEvent::Cancelled { .. }
            | JobEvent::DeadLettered { .. }
    )
}

/// A status changes only as these pairs say, and goes back only by a lost lease or a replay.
fn check_step_of_status(before: Option<&Job>, event: &JobEvent, after: Option<&Job>) -> TestCaseResult {
    use JobStatus::{Cancelled, Completed, Failed, Pending, Running};
    let step = (before.map(Job::status), after.map(Job::status));
    let allowed = match step {
        (None, Some(Pending)) => matches!(event, JobEvent::Enqueued { .. }),
        (Some(Pending), Some(Running)) => matches!(event, JobEvent::Started { .. }),
        (Some(Running), Some(Pending)) => matches!(event, JobEvent::LeaseLost { .. }),
        (Some(Running), Some(Completed)) => matches!(event, JobEvent::Completed { .. }),
        (Some(Running), Some(Failed)) => matches!(event, JobEvent::Failed { .. }),
        (Some(Pending | Running), Some(Cancelled)) => matches!(event, JobEvent::Cancelled { .. }),
        (Some(Pending), Some(Failed)) => matches!(event, JobEvent::DeadLettered { .. }),
        (Some(Failed), Some(Pending)) => matches!(event, JobEvent::Replayed { .. }),
        (Some(Completed | Failed | Cancelled), None) => matches!(event, JobEvent::Expired {}),
        (Some(from), Some(to)) => from == to,
        (None, _) | (_, None) => false,
    };
    prop_assert!(allowed, "{} takes it from {:?} to {:?}", event.kind(), step.0, step.1);
    Ok(())
}

/// Any event at all, sensible there or not.
fn any_event() -> impl Strategy<Value = JobEvent> {
    let fence = || (0..4_u8).prop_map(pool_fence);
    let at = || (0..1_000_000_i64).prop_map(from_unix_micros);
    prop_oneof![
        any::<bool>().prop_map(|dispatched| JobEvent::Enqueued { spec: spec(0), dispatched }),
        Just(JobEvent::Dispatched {}),
        Just(JobEvent::Held {}),
        fence().prop_map(|fence| JobEvent::Started {
            fence,
            worker: worker(),
            gpus: vec![],
            sandbox: "off".to_owned(),
            tracking: Tracking::All,
        }),
        (fence(), any::<bool>()).prop_map(|(fence, tracked)| JobEvent::Completed {
            fence,
            results: Results::default(),
            artifacts: ArtifactTotals::default(),
            tracked: tracked.then(|| run_record(0)),
        }),
        fence().prop_map(|fence| JobEvent::Failed { fence, failure: failure() }),
        (fence(), cause()).prop_map(|(fence, cause)| JobEvent::LeaseLost { fence, cause, error: String::new() }),
        (at(), any::<u32>()).prop_map(|(at, attempt)| JobEvent::RetryScheduled { at, attempt }),
        any::<bool>().prop_map(|refunded| JobEvent::DeadLettered {
            kind: DeadLetterKind::Infrastructure,
            error: String::new(),
            refunded,
        }),
        ((0..4_u8), any::<bool>()).prop_map(|(request, dispatched)| JobEvent::Replayed {
            by: user(),
            why: String::new(),
            request: request_id(request),
            dispatched,
        }),
        Just(JobEvent::CancelRequested { by: user() }),
        any::<bool>().prop_map(|refunded| JobEvent::Cancelled { refunded, reason: None }),
        (fence(), 0..3_u8).prop_map(|(fence, run)| JobEvent::Tracked { fence: Some(fence), run: run_record(run) }),
        Just(JobEvent::Expired {}),
    ]
}

fn envelope(seq: u64, at: Timestamp, event: JobEvent) -> Envelope<JobEvent> {
    Envelope { seq, at, actor: Actor::System("test".to_owned()), trace: None, event }
}

fn start(fence: Fence, ticket: u64) -> JobCommand {
    JobCommand::Start(Start {
        tracking: tracking(&fence),
        fence,
        ticket: Ticket { class: spec(0).class, id: StreamId { ms: ticket, seq: 0 } },
        worker: worker(),
        gpus: vec![],
        sandbox: "off".to_owned(),
    })
}

/// Of some runs every end is recorded, of some only that they completed, and of some none.
fn tracking(fence: &Fence) -> Tracking {
    match fence.as_str().bytes().last().unwrap_or_default() % 4 {
        0 | 1 => Tracking::All,
        2 => Tracking::Completed,
        _ => Tracking::Off,
    }
}

fn job_id() -> JobId {
    "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap()
}

fn submission() -> SubmissionId {
    "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap()
}

fn user() -> UserId {
    "alice".parse().unwrap()
}

fn worker() -> Consumer {
    "gpu1".parse().unwrap()
}

fn request_id(number: u8) -> RequestId {
    format!("{number:032x}").parse().unwrap()
}

fn pool_fence(number: u8) -> Fence {
    format!("{number:024x}").parse().unwrap()
}

fn fresh_fence(number: u64) -> Fence {
    format!("f{number:023x}").parse().unwrap()
}

fn run_record(number: u8) -> TrackedRun {
    TrackedRun { run_id: number.to_string(), experiment_id: "7".to_owned() }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::NonzeroExit,
        error: "it exited with code 1".to_owned(),
        exit_code: Some(1),
        log_tail: String::new(),
    }
}

fn spec(config: u8) -> JobSpec {
    JobSpec {
        submission: submission(),
        user: user(),
        class: "small".parse().unwrap(),
        config: config.to_string(),
        idempotency: None,
    }
}
