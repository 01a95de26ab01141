//! Limits and slots, against a model that is kept beside them: users who do all they can, in any order, also at once,
//! while Redis's clock is set ahead and back.

use std::collections::HashMap;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use chrono::TimeDelta;
use events::execute::{self, ExecuteError};
use events::guard::Ticket;
use events::job::{CancelMode, Rejection, Waiting};
use events::ports::{EventLogPort, Ids};
use events::{
    ConcurrencyPolicy, FailureKind, Job, JobCommand, JobId, JobSpec, JobState, LimitReached, Limits, LossCause, Policy,
    StreamId, SubmissionId, Timestamp, UserId,
};
use futures::future::join_all;
use leadersboard_tests::preload::Clock;
use leadersboard_tests::redis_server::{Persistence, RedisServer, migrate};
use projections::Keyspace;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::{consumer, origin, start, upload};

/// Small, so that every one of them is reached.
const LIMITS: Limits = Limits {
    jobs_per_hour: 5,
    running: 2,
    concurrency: ConcurrencyPolicy::Reject,
    queued: 3,
    uploads_per_hour: 1_000,
    uploads_in_flight: 1_000,
    stored_bytes: u64::MAX >> 1,
};
const HOUR: TimeDelta = TimeDelta::hours(1);
/// What is this close to having left the hour may count or not: time goes on while a test looks.
const BLUR: TimeDelta = TimeDelta::seconds(2);
const USERS: usize = 2;

/// One thing that is done. Numbers pick among the jobs it can be done to.
#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        user: usize,
    },
    Start(usize),
    Complete(usize),
    Fail(usize),
    Lose(usize, LossCause),
    Cancel(usize),
    Acknowledge(usize),
    Dispatch(usize),
    Replay(usize),
    /// Sets the clock so many minutes ahead of where it is.
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let pick = || 0..100_usize;
    let cause = prop_oneof![Just(LossCause::WorkerLost), Just(LossCause::Infrastructure), Just(LossCause::Drain)];
    prop_oneof![
        12 => (0..USERS).prop_map(|user| Step::Enqueue { user }),
        8 => pick().prop_map(Step::Start),
        4 => pick().prop_map(Step::Complete),
        2 => pick().prop_map(Step::Fail),
        6 => (pick(), cause).prop_map(|(job, cause)| Step::Lose(job, cause)),
        5 => pick().prop_map(Step::Cancel),
        2 => pick().prop_map(Step::Acknowledge),
        4 => pick().prop_map(Step::Dispatch),
        3 => pick().prop_map(Step::Replay),
        2 => prop_oneof![Just(13), Just(29), Just(-11)].prop_map(Step::Clock),
    ]
}

/// One namespace, and what should be in it.
struct World {
    redis: Redis,
    policy: Policy,
    submission: SubmissionId,
    jobs: Vec<JobId>,
    /// The places in each user's hour: when each job was accepted.
    accepted: HashMap<UserId, HashMap<JobId, Timestamp>>,
    /// When places were given back.
    refunds: HashMap<UserId, Vec<Timestamp>>,
    time: Time,
}

/// Which way the clock has gone in this world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Forward,
    AlsoBack,
}

/// The whole minutes by which the clock of a server is ahead.
struct SteppedClock {
    clock: Clock,
    minutes: i64,
}

impl SteppedClock {
    fn step(&mut self, minutes: i64) {
        self.minutes += minutes;
        let by = Duration::from_secs(self.minutes.unsigned_abs() * 60);
        if self.minutes < 0 { self.clock.set_behind(by) } else { self.clock.set_ahead(by) }
    }
}

impl World {
    async fn new(server: &RedisServer, concurrency: ConcurrencyPolicy) -> Self {
        let keys = Keyspace::new(&SystemIds.job().to_string()).expect("a namespace");
        migrate(&server.url(), &keys).await;
        let redis = Redis::connect(&server.url(), keys).await.expect("Redis");
        let submission = upload(&redis, "u0").await;
        let policy = Policy { limits: Limits { concurrency, ..LIMITS }, max_retries: 1, ..Policy::default() };
        Self {
            redis,
            policy,
            submission,
            jobs: vec![],
            accepted: HashMap::new(),
            refunds: HashMap::new(),
            time: Time::Forward,
        }
    }

    async fn now(&self) -> Timestamp {
        self.redis.now().await.expect("Redis's time")
    }

    async fn states(&self) -> Vec<Job> {
        let loaded = join_all(self.jobs.iter().map(|id| self.redis.load_job(*id))).await;
        loaded.into_iter().filter_map(|loaded| loaded.expect("a job").state).collect()
    }

    async fn send(&self, id: JobId, command: &JobCommand) -> Result<Option<Job>, ExecuteError<Rejection>> {
        execute::job(&self.redis, &self.policy, &origin(), id, command, 1.0).await
    }

    /// Which command a step is, where there is a job for it.
    fn command(&self, step: &Step, jobs: &[Job]) -> Option<(JobId, JobCommand)> {
        let pick = |number: &usize, fits: &dyn Fn(&Job) -> bool| -> Option<Job> {
            let fitting: Vec<&Job> = jobs.iter().filter(|job| fits(job)).collect();
            fitting.get(number % fitting.len().max(1)).map(|job| (*job).clone())
        };
        let running = |job: &Job| matches!(job.state, JobState::Running);
        let fence = |job: &Job| job.current_fence().expect("it runs").clone();
        let user: UserId = "root".parse().expect("a name");
        let (job, command) = match step {
            Step::Clock(_) => return None,
            Step::Enqueue { user } => {
                let user = format!("u{user}").parse().expect("a name");
                let class = self.policy.default_class.clone();
                let spec = JobSpec { submission: self.submission, user, class, config: "{}".into(), idempotency: None };
                return Some((SystemIds.job(), JobCommand::Enqueue(spec)));
            }
            Step::Start(number) => {
                let job = pick(number, &|job| matches!(job.state, JobState::Pending(Waiting::Dispatched(_))))?;
                let ticket = Ticket { class: job.spec.class.clone(), id: StreamId { ms: 1, seq: 0 } };
                let command = JobCommand::Start(start(&SystemIds.fence(), &ticket, &consumer("w-1")));
                (job, command)
            }
            Step::Complete(number) => {
                let job = pick(number, &running)?;
                let (results, artifacts) = Default::default();
                let command = JobCommand::Complete { fence: fence(&job), results, artifacts, tracked: None };
                (job, command)
            }
            Step::Fail(number) => {
                let job = pick(number, &running)?;
                let failure = events::Failure {
                    kind: FailureKind::NonzeroExit,
                    error: String::new(),
                    exit_code: Some(1),
                    log_tail: String::new(),
                };
                let command = JobCommand::Fail { fence: fence(&job), failure };
                (job, command)
            }
            Step::Lose(number, cause) => {
                let job = pick(number, &running)?;
                let command = JobCommand::LoseLease { fence: fence(&job), cause: *cause, error: String::new() };
                (job, command)
            }
            Step::Cancel(number) => {
                let job = pick(number, &|job| !job.is_terminal())?;
                (job, JobCommand::RequestCancel { by: user, force: CancelMode::Graceful })
            }
            Step::Acknowledge(number) => {
                let job = pick(number, &|job| running(job) && job.cancel_requested_by.is_some())?;
                let command = JobCommand::AcknowledgeCancel { fence: fence(&job) };
                (job, command)
            }
            Step::Dispatch(number) => {
                let job = pick(number, &|job| matches!(job.state, JobState::Pending(Waiting::Delayed(_))))?;
                (job, JobCommand::Dispatch)
            }
            Step::Replay(number) => {
                let job = pick(number, &|job| matches!(job.state, JobState::Failed(_) | JobState::DeadLettered(_)))?;
                (job, JobCommand::Replay { by: user, why: String::new(), request: SystemIds.request() })
            }
        };
        Some((job.id, command))
    }

    /// The times of the hour that ends at `now` for sure, and those that may have left it.
    fn in_hour(times: impl Iterator<Item = Timestamp>, now: Timestamp) -> (u64, u64) {
        times.fold((0, 0), |(sure, maybe), at| {
            let is_sure = at > now - HOUR + BLUR;
            let is_possible = !is_sure && at > now - HOUR - BLUR;
            (sure + u64::from(is_sure), maybe + u64::from(is_possible))
        })
    }

    fn hour_of(&self, user: &UserId, now: Timestamp) -> (u64, u64) {
        Self::in_hour(self.accepted.get(user).into_iter().flat_map(|jobs| jobs.values().copied()), now)
    }

    /// What the answer to an enqueue must be: nothing is expected where the hour is blurred.
    fn expect_enqueue(&self, user: &UserId, jobs: &[Job], now: Timestamp) -> Option<Result<(), &'static str>> {
        let (sure, maybe) = self.hour_of(user, now);
        if sure >= LIMITS.jobs_per_hour {
            return Some(Err("jobs_per_hour"));
        }
        if sure + maybe >= LIMITS.jobs_per_hour {
            return None;
        }
        let count =
            |fits: &dyn Fn(&Job) -> bool| jobs.iter().filter(|job| job.spec.user == *user && fits(job)).count() as u64;
        let running = count(&|job| matches!(job.state, JobState::Running));
        if self.policy.limits.concurrency == ConcurrencyPolicy::Reject && running >= LIMITS.running {
            return Some(Err("running"));
        }
        let pending = count(&|job| matches!(job.state, JobState::Pending(_)));
        Some(if pending >= LIMITS.queued { Err("queued") } else { Ok(()) })
    }

    /// Whether the end of this job gives its place in the hour back; nothing where the hour is blurred.
    fn expect_refund(&self, before: &Job, cause: Option<LossCause>, now: Timestamp) -> Option<bool> {
        let platform = |cause| matches!(cause, LossCause::Infrastructure | LossCause::Drain);
        let deserved = match cause {
            Some(cause) => platform(cause),
            None => before.fences.is_empty() || before.last_loss.is_some_and(platform),
        };
        if !deserved || before.refunded_at.is_some() {
            return Some(before.refunded_at.is_some());
        }
        let (sure, maybe) = Self::in_hour(self.refunds.get(&before.spec.user).into_iter().flatten().copied(), now);
        let (in_hour, left) = (before.created_at > now - HOUR + BLUR, before.created_at <= now - HOUR - BLUR);
        if left || sure >= LIMITS.jobs_per_hour {
            return Some(false);
        }
        (in_hour && sure + maybe < LIMITS.jobs_per_hour).then_some(true)
    }

    /// Does one step alone, and compares its answer with the model's.
    async fn take(&mut self, step: &Step, clock: &mut SteppedClock) -> TestCaseResult {
        if let Step::Clock(minutes) = step {
            clock.step(*minutes);
            if *minutes < 0 {
                self.time = Time::AlsoBack;
            }
        }
        let before = self.states().await;
        let Some((id, command)) = self.command(step, &before) else { return self.check().await };
        let now = self.now().await;
        let answer = self.send(id, &command).await;
        if answer.is_ok() && matches!(command, JobCommand::Enqueue(_)) {
            self.jobs.push(id);
        }
        if let JobCommand::Enqueue(spec) = &command {
            let expected = self.expect_enqueue(&spec.user, &before, now);
            let got = match &answer {
                Ok(_) => Ok(()),
                Err(ExecuteError::Rejected(Rejection::Limit(reached))) => Err(reached.code()),
                Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
            };
            prop_assert!(expected.is_none_or(|expected| expected == got), "{:?} instead of {:?}", got, expected);
            if let Err(ExecuteError::Rejected(Rejection::Limit(LimitReached::JobsPerHour { resets_at, .. }))) = &answer
            {
                let times = self.accepted[&spec.user].values().copied();
                let mut times: Vec<_> = times.filter(|at| *at > now - HOUR + BLUR).collect();
                times.sort_unstable();
                let leaves = times[times.len() - usize::try_from(LIMITS.jobs_per_hour).expect("few")] + HOUR;
                prop_assert!(
                    (leaves - *resets_at).abs() < TimeDelta::milliseconds(2),
                    "{} is not {}",
                    resets_at,
                    leaves
                );
            }
        } else {
            prop_assert!(answer.is_ok(), "{:?}: {:?}", command, answer);
        }
        self.note(&before, &command, now).await?;
        self.check().await
    }

    /// Brings the model up to what has happened, comparing what was given back with what it should be.
    async fn note(&mut self, before: &[Job], command: &JobCommand, now: Timestamp) -> TestCaseResult {
        if let JobCommand::Enqueue(_) = command {
            return Ok(());
        }
        for after in self.states().await {
            let Some(before) = before.iter().find(|job| job.id == after.id && job.version != after.version) else {
                continue;
            };
            let cause = match command {
                JobCommand::LoseLease { cause, .. } => Some(*cause),
                _ => None,
            };
            let may_refund = matches!(after.state, JobState::DeadLettered(_) | JobState::Cancelled(_))
                && (cause.is_some() || matches!(before.state, JobState::Pending(_)));
            let expected =
                if may_refund { self.expect_refund(before, cause, now) } else { Some(before.refunded_at.is_some()) };
            let refunded = after.refunded_at.is_some();
            prop_assert!(expected.is_none_or(|expected| expected == refunded), "{:?} gave {} back", after, refunded);
            if let (None, Some(at)) = (before.refunded_at, after.refunded_at) {
                self.refunds.entry(after.spec.user.clone()).or_default().push(at);
                self.accepted.get_mut(&after.spec.user).and_then(|jobs| jobs.remove(&after.id));
            }
        }
        Ok(())
    }

    /// Does all these steps at once.
    async fn take_at_once(&mut self, steps: &[Step]) -> TestCaseResult {
        let before = self.states().await;
        let commands: Vec<_> = steps.iter().filter_map(|step| self.command(step, &before)).collect();
        for (id, command) in &commands {
            if let JobCommand::Enqueue(_) = command {
                self.jobs.push(*id);
            }
        }
        for answer in join_all(commands.iter().map(|(id, command)| self.send(*id, command))).await {
            let refused = matches!(answer, Err(ExecuteError::Rejected(_)));
            prop_assert!(answer.is_ok() || refused, "{:?}", answer);
        }
        Self::check_slots(&self.states().await)
    }

    fn check_slots(jobs: &[Job]) -> TestCaseResult {
        for user in 0..USERS {
            let user: UserId = format!("u{user}").parse().expect("a name");
            let of_user = || jobs.iter().filter(|job| job.spec.user == user);
            let in_use = of_user().filter(|job| job.holds_slot()).count() as u64;
            prop_assert!(in_use <= LIMITS.running, "{} slots of {} are in use", in_use, user);
            let held = of_user().any(|job| matches!(job.state, JobState::Pending(Waiting::Held)));
            prop_assert!(
                !held || in_use == LIMITS.running,
                "a job of {} is held, and {} slots are in use",
                user,
                in_use
            );
        }
        Ok(())
    }

    async fn check(&mut self) -> TestCaseResult {
        let mut known = self.states().await;
        known.sort_by_key(|job| job.created_at);
        for job in &known {
            if job.refunded_at.is_none() {
                self.accepted.entry(job.spec.user.clone()).or_default().insert(job.id, job.created_at);
            }
        }
        Self::check_slots(&known)?;
        for user in 0..USERS {
            let user: UserId = format!("u{user}").parse().expect("a name");
            let now = self.now().await;
            let usage = self.redis.load_usage(&user, &self.policy.limits).await.expect("a usage").usage;
            let (sure, maybe) = self.hour_of(&user, now);
            prop_assert!((sure..=sure + maybe).contains(&usage.hour.jobs), "{:?}: {} to {}", usage, sure, sure + maybe);
            // What had left the hour is in it again once the clock was set back.
            if self.time == Time::Forward {
                prop_assert!(usage.hour.jobs <= LIMITS.jobs_per_hour);
                prop_assert!(usage.hour.refunds <= LIMITS.jobs_per_hour);
            }
            let count = |fits: &dyn Fn(&Job) -> bool| {
                known.iter().filter(|job| job.spec.user == user && fits(job)).count() as u64
            };
            let read = (usage.active, usage.running, usage.pending);
            let counted = (
                count(&Job::holds_slot),
                count(&|job| matches!(job.state, JobState::Running)),
                count(&|job| matches!(job.state, JobState::Pending(_))),
            );
            prop_assert_eq!(read, counted);
        }
        Ok(())
    }
}

/// A Redis whose clock can be set, and a runtime to speak to it.
fn bench() -> (tokio::runtime::Runtime, RedisServer, SteppedClock) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let clock = Clock::new();
    let server = runtime.block_on(RedisServer::start_with(Persistence::Off, clock.environment()));
    (runtime, server, SteppedClock { clock, minutes: 0 })
}

fn concurrency() -> impl Strategy<Value = ConcurrencyPolicy> {
    prop_oneof![Just(ConcurrencyPolicy::Reject), Just(ConcurrencyPolicy::Queue)]
}

#[test]
fn no_order_of_steps_breaks_a_limit_or_leaves_a_slot_unused() {
    let (runtime, server, clock) = bench();
    let clock = std::sync::Mutex::new(clock);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() });
    let steps = (concurrency(), prop::collection::vec(step(), 0..80));
    let done = runner.run(&steps, |(concurrency, steps)| {
        let mut clock = clock.lock().expect("one case at a time");
        runtime.block_on(async {
            let mut world = World::new(&server, concurrency).await;
            for step in &steps {
                world.take(step, &mut clock).await?;
            }
            Ok(())
        })
    });
    done.unwrap_or_else(|broken| panic!("{broken}"));
}

#[test]
fn no_steps_at_once_break_a_limit_or_leave_a_slot_unused() {
    let (runtime, server, _clock) = bench();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() });
    let steps = prop::collection::vec(prop::collection::vec(step(), 1..6), 0..25);
    let done = runner.run(&(concurrency(), steps), |(concurrency, rounds)| {
        runtime.block_on(async {
            let mut world = World::new(&server, concurrency).await;
            for round in &rounds {
                world.take_at_once(round).await?;
            }
            Ok(())
        })
    });
    done.unwrap_or_else(|broken| panic!("{broken}"));
}
