//! What a job answers to each command, told as: given these events, when this command, then these events.
//!
//! The matrix at the top has every command in every state. The stories below say why, one rule each, and with which
//! work and guards.

use std::time::Duration;

use super::*;
use crate::failure::{DeadLetterKind, Failure, FailureKind, LossCause};
use crate::guard::{Guard, Lane, Ticket, WorkChange};
use crate::id::{Consumer, Fence, JobId, RequestId, SubmissionId, UserId};
use crate::idempotency::Idempotency;
use crate::log::envelope::{Actor, Envelope, StreamId};
use crate::policy::{ConcurrencyPolicy, Limits, Policy};
use crate::quota::{LimitReached, Usage};
use crate::results::Results;
use crate::time::{Timestamp, from_unix_micros};
use crate::trace::TraceParent;

/// The answer to every command in every state. A new command or state does not compile until it has a name in
/// [`row`] or [`column`], and the names here are compared with those.
///
/// The run that each state but the first three has had is that of fence `a`; `!a` is a fence that no run of it had.
/// `cancelling` is running after somebody asked for its end; `late` is a fence that is not the current one.
const MATRIX: &str = "
                  absent  held    dispatched delayed running cancelling completed     failed  cancelled     dead-lettered
enqueue           happens already already    already already already    already       already already       already
enqueue-another   happens taken   taken      taken   taken   taken      taken         taken   taken         taken
dispatch          unknown happens already    happens already already    ended         ended   ended         ended
start-a           unknown not-due happens    not-due already already    not-due       not-due not-due       not-due
start-!a          unknown not-due happens    not-due not-due not-due    not-due       not-due not-due       not-due
complete-a        unknown late    late       late    happens happens    already       late    late          late
complete-!a       unknown late    late       late    late    late       late          late    late          late
fail-a            unknown late    late       late    happens happens    late          already late          late
fail-!a           unknown late    late       late    late    late       late          late    late          late
lose-lease-a      unknown late    late       already happens happens    already       already already       already
lose-lease-!a     unknown late    late       late    late    late       late          late    late          late
cancel            unknown happens happens    happens happens already    ended         ended   already       ended
cancel-force      unknown happens happens    happens happens happens    ended         ended   already       ended
withdraw          unknown happens happens    happens not-due not-due    ended         ended   already       ended
acknowledge-a     unknown late    late       late    happens happens    late          late    already       late
acknowledge-!a    unknown late    late       late    late    late       late          late    late          late
replay            unknown not-yet not-yet    not-yet not-yet not-yet    unreplayable  happens unreplayable  happens
track             unknown nothing nothing    nothing nothing nothing    happens       happens happens       happens
expire            unknown not-yet not-yet    not-yet not-yet not-yet    happens       happens happens       happens
";

#[test]
fn every_command_has_its_answer_in_every_state() {
    let mut lines =
        MATRIX.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|line| !line.is_empty());
    let states = every_state();
    let names: Vec<&str> = states.iter().map(|job| column(job.as_ref())).collect();
    assert_eq!(lines.next(), Some(names), "the heading names every state in its order");
    for command in every_command() {
        let mut answers = vec![row(&command)];
        answers.extend(states.iter().map(|job| answer(job.as_ref(), &command)));
        assert_eq!(lines.next(), Some(answers));
    }
    assert_eq!(lines.next(), None, "every row has its command");
}

fn every_state() -> Vec<Option<Job>> {
    let of = |history: &[&[JobEvent]]| after(history.concat());
    let running: &[JobEvent] = &[enqueued(), started("a")];
    vec![
        None,
        of(&[&[held()]]),
        of(&[&[enqueued()]]),
        of(&[running, &[lease_lost("a", LossCause::WorkerLost), retry(1, 2)]]),
        of(&[running]),
        of(&[running, &[cancel_requested()]]),
        of(&[running, &[completed("a")]]),
        of(&[running, &[failed("a")]]),
        of(&[running, &[cancel_requested(), cancelled()]]),
        of(&[running, &[lease_lost("a", LossCause::WorkerLost), poisonous()]]),
    ]
}

fn every_command() -> Vec<JobCommand> {
    let another = JobSpec { config: "{}".to_owned(), ..spec() };
    vec![
        enqueue(),
        JobCommand::Enqueue(another),
        JobCommand::Dispatch,
        start("a"),
        start("b"),
        complete("a"),
        complete("b"),
        fail("a"),
        fail("b"),
        lose("a", LossCause::WorkerLost),
        lose("b", LossCause::WorkerLost),
        cancel(),
        force_cancel(),
        withdraw(),
        acknowledge("a"),
        acknowledge("b"),
        replay(request(1)),
        track("r1"),
        JobCommand::Expire,
    ]
}

fn column(job: Option<&Job>) -> &'static str {
    match job.map(|job| (&job.state, &job.cancel_requested_by)) {
        None => "absent",
        Some((JobState::Pending(Waiting::Held), _)) => "held",
        Some((JobState::Pending(Waiting::Dispatched(_)), _)) => "dispatched",
        Some((JobState::Pending(Waiting::Delayed(_)), _)) => "delayed",
        Some((JobState::Running, None)) => "running",
        Some((JobState::Running, Some(_))) => "cancelling",
        Some((JobState::Completed(_), _)) => "completed",
        Some((JobState::Failed(_), _)) => "failed",
        Some((JobState::Cancelled(_), _)) => "cancelled",
        Some((JobState::DeadLettered(_), _)) => "dead-lettered",
    }
}

fn row(command: &JobCommand) -> &'static str {
    let by = |its: &Fence, a: &'static str, other: &'static str| {
        if *its == fence("a") { a } else { other }
    };
    match command {
        JobCommand::Enqueue(its) if *its == spec() => "enqueue",
        JobCommand::Enqueue(_) => "enqueue-another",
        JobCommand::Dispatch => "dispatch",
        JobCommand::Start(start) => by(&start.fence, "start-a", "start-!a"),
        JobCommand::Complete { fence, .. } => by(fence, "complete-a", "complete-!a"),
        JobCommand::Fail { fence, .. } => by(fence, "fail-a", "fail-!a"),
        JobCommand::LoseLease { fence, .. } => by(fence, "lose-lease-a", "lose-lease-!a"),
        JobCommand::RequestCancel { force: CancelMode::Graceful, .. } => "cancel",
        JobCommand::RequestCancel { force: CancelMode::Force, .. } => "cancel-force",
        JobCommand::Withdraw { .. } => "withdraw",
        JobCommand::AcknowledgeCancel { fence } => by(fence, "acknowledge-a", "acknowledge-!a"),
        JobCommand::Replay { .. } => "replay",
        JobCommand::Track { .. } => "track",
        JobCommand::Expire => "expire",
    }
}

fn answer(job: Option<&Job>, command: &JobCommand) -> &'static str {
    match decide(job_id(), job, command, &context(&Policy::default(), &Usage::default())) {
        Ok(Decision::Happens { .. }) => "happens",
        Ok(Decision::AlreadyApplied) => "already",
        Err(Rejection::Unknown) => "unknown",
        Err(Rejection::IdTaken) => "taken",
        Err(Rejection::Ended(_)) => "ended",
        Err(Rejection::NotStartable) => "not-due",
        Err(Rejection::FenceLost) => "late",
        Err(Rejection::NotEnded) => "not-yet",
        Err(Rejection::NotReplayable(_)) => "unreplayable",
        Err(Rejection::SubmissionGone(_)) => "submission-gone",
        Err(Rejection::UnknownClass(_)) => "unknown-class",
        Err(Rejection::Limit(_)) => "limited",
        Err(Rejection::NoSlot) => "no-slot",
        Err(Rejection::NothingToTrack) => "nothing",
    }
}

mod accepting {
    use super::*;

    #[test]
    fn a_new_job_gets_its_ticket_at_once_if_its_submission_is_there() {
        given([])
            .when(enqueue())
            .then([enqueued()])
            .with_guards(admission_guards(Guard::SlotsBelow { user: user("alice"), limit: 1 }))
            .with_work([add_ticket()])
            .with_lane(Lane::Admission);
    }

    #[test]
    fn an_enqueue_whose_answer_was_lost_is_found_done_however_far_the_job_got() {
        given([enqueued()]).when(enqueue()).then_already_applied();
        given([enqueued(), started("a"), completed("a")]).when(enqueue()).then_already_applied();
    }

    #[test]
    fn an_id_is_one_jobs_only() {
        let another = JobSpec { user: user("bob"), ..spec() };
        given([enqueued()]).when(JobCommand::Enqueue(another)).then_refused(Rejection::IdTaken);
    }

    #[test]
    fn a_job_of_a_class_that_is_not_on_offer_is_refused_by_name() {
        let huge = JobSpec { class: "huge".parse().unwrap(), ..spec() };
        given([]).when(JobCommand::Enqueue(huge)).then_refused(Rejection::UnknownClass("huge".to_owned()));
    }

    #[test]
    fn a_class_taken_off_the_offer_later_does_not_undo_an_enqueue() {
        given([enqueued()])
            .under(Policy { classes: [].into(), ..Policy::default() })
            .when(enqueue())
            .then_already_applied();
    }

    #[test]
    fn nothing_but_an_enqueue_creates_a_job() {
        for command in every_command() {
            match command {
                JobCommand::Enqueue(_) => {}
                other => given([]).when(other).then_refused(Rejection::Unknown),
            }
        }
    }

    #[test]
    fn what_expired_is_as_unknown_as_what_never_was() {
        let history = [enqueued(), started("a"), completed("a"), expired()];
        assert_eq!(after(history.clone()), None);
        given(history).when(track("r1")).then_refused(Rejection::Unknown);
    }

    #[test]
    fn only_new_work_may_be_refused_by_a_full_redis() {
        for job in every_state() {
            for command in every_command() {
                let decided = decide(job_id(), job.as_ref(), &command, &context(&Policy::default(), &Usage::default()));
                if let Ok(Decision::Happens { lane, .. }) = decided {
                    let admits = matches!(command, JobCommand::Enqueue(_));
                    assert_eq!(lane == Lane::Admission, admits, "{command:?}");
                }
            }
        }
    }
}

mod limits {
    use super::handover::{frees_slot, hand_over};
    use super::*;

    fn taken() -> Usage {
        Usage { active: 1, ..Usage::default() }
    }

    #[test]
    fn a_job_without_a_free_slot_is_held_if_there_still_is_none() {
        given([])
            .using(taken())
            .when(enqueue())
            .then([held()])
            .with_guards(admission_guards(slots_taken()))
            .with_lane(Lane::Admission);
    }

    #[test]
    fn the_hour_comes_first_then_what_runs_then_what_waits() {
        let mut usage = Usage { active: 1, running: 1, pending: 20, ..Usage::default() };
        usage.hour.jobs = 10;
        usage.hour.job_fits_at = Some(moment(8000));
        let refused =
            |usage: &Usage, limit| given([]).using(usage.clone()).when(enqueue()).then_refused(Rejection::Limit(limit));
        refused(&usage, LimitReached::JobsPerHour { limit: 10, resets_at: moment(8000), asked_at: now() });
        usage.hour.jobs = 9;
        refused(&usage, LimitReached::Running { limit: 1 });
        usage.running = 0;
        refused(&usage, LimitReached::Queued { limit: 20 });
    }

    #[test]
    fn under_queue_a_running_job_does_not_keep_another_from_being_accepted() {
        let limits = Limits { concurrency: ConcurrencyPolicy::Queue, ..Limits::default() };
        let [ready, offered, accepted, _, pending, slot] = admission_guards(slots_taken());
        given([])
            .under(Policy { limits, ..Policy::default() })
            .using(Usage { active: 1, running: 1, ..Usage::default() })
            .when(enqueue())
            .then([held()])
            .with_guards([ready, offered, accepted, pending, slot])
            .with_lane(Lane::Admission);
    }

    #[test]
    fn a_retry_without_a_free_slot_is_held_when_it_is_due_and_a_held_job_stays_so() {
        given(delayed())
            .using(taken())
            .when(JobCommand::Dispatch)
            .then([JobEvent::Held {}])
            .with_guards([slots_taken()]);
        given([held()]).using(taken()).when(JobCommand::Dispatch).then_refused(Rejection::NoSlot);
        assert_eq!(there([delayed(), vec![JobEvent::Held {}]].concat()).state, JobState::Pending(Waiting::Held));
    }

    #[test]
    fn a_replay_needs_a_slot_and_nothing_of_the_hour_or_the_queue() {
        let mut usage = Usage { active: 1, running: 1, pending: 20, ..Usage::default() };
        usage.hour.jobs = 10;
        let replayed = JobEvent::Replayed {
            by: user("root"),
            why: "the disk was full".to_owned(),
            request: request(1),
            dispatched: false,
        };
        given([enqueued(), started("a"), failed("a")])
            .using(usage)
            .when(replay(request(1)))
            .then([replayed])
            .with_guards([Guard::SubmissionReady(submission()), Guard::ClassOffered(spec().class), slots_taken()]);
    }

    #[test]
    fn a_waiting_job_whose_class_is_removed_ends_with_the_reason() {
        let why = "resource class small was removed";
        let refunded = JobEvent::Cancelled { refunded: true, reason: Some(why.to_owned()) };
        soon([held()]).when(withdraw()).then([refunded.clone()]).with_guards([refund_guard()]);
        let ended = after([held(), refunded]).unwrap();
        assert_eq!((ended.error(), &ended.cancel_requested_by), (Some(why), &None));
    }

    #[test]
    fn what_failed_of_a_class_that_is_gone_is_not_replayed() {
        let policy = Policy { classes: std::collections::BTreeMap::new(), ..Policy::default() };
        let job = after([enqueued(), started("a"), failed("a")]);
        let refused = decide(job_id(), job.as_ref(), &replay(request(1)), &context(&policy, &Usage::default()));
        assert_eq!(refused, Err(Rejection::UnknownClass("small".to_owned())));
    }

    /// Decided within the hour of its acceptance.
    fn soon(history: impl IntoIterator<Item = JobEvent>) -> Given {
        given(history).at(moment(60))
    }

    fn refund_guard() -> Guard {
        Guard::RefundedBelow { user: user("alice"), since: moment(60) - Duration::from_hours(1), limit: 10 }
    }

    #[test]
    fn what_never_ran_or_what_the_platform_gave_back_costs_nothing_of_the_hour() {
        let refunded = JobEvent::Cancelled { refunded: true, reason: None };
        for cause in [LossCause::Infrastructure, LossCause::Drain] {
            let lost = vec![enqueued(), started("a"), lease_lost("a", cause), retry(1, 2)];
            for waiting in [vec![enqueued()], vec![held()], lost] {
                soon(waiting).when(cancel()).then([cancel_requested(), refunded.clone()]).with_guards([refund_guard()]);
            }
        }
        soon(delayed()).when(cancel()).then([cancel_requested(), cancelled()]);
    }

    #[test]
    fn a_dead_letter_of_the_platform_is_given_back_and_poison_is_not() {
        let infrastructure = [LossCause::Infrastructure; 3];
        soon(lost(infrastructure))
            .when(lose("d", LossCause::Infrastructure))
            .then([
                lease_lost("d", LossCause::Infrastructure),
                JobEvent::DeadLettered {
                    kind: DeadLetterKind::Infrastructure,
                    error: "it was not heard of".to_owned(),
                    refunded: true,
                },
            ])
            .with_guards([refund_guard()])
            .with_work([release_lease()]);
        soon(lost([LossCause::WorkerLost; 2]))
            .when(lose("c", LossCause::WorkerLost))
            .then([lease_lost("c", LossCause::WorkerLost), poisonous()])
            .with_work([release_lease()]);
    }

    #[test]
    fn places_are_not_to_be_farmed() {
        // As many were given back as fit into the hour; it has left the hour by itself; it was given back before.
        let mut usage = Usage::default();
        usage.hour.refunds = 10;
        soon([enqueued()]).using(usage).when(cancel()).then([cancel_requested(), cancelled()]);
        given([enqueued()]).at(moment(3700)).when(cancel()).then([cancel_requested(), cancelled()]);
        let dead =
            JobEvent::DeadLettered { kind: DeadLetterKind::Infrastructure, error: String::new(), refunded: true };
        let again =
            vec![enqueued(), started("a"), lease_lost("a", LossCause::Infrastructure), dead, replayed(request(1))];
        soon(again).when(cancel()).then([cancel_requested(), cancelled()]);
    }

    #[test]
    fn a_slot_is_given_back_by_an_end_and_by_a_wait_and_not_by_a_drain() {
        let job = |history: &[JobEvent]| after(history.to_vec());
        let running = job(&[enqueued(), started("a")]);
        for last in [completed("a"), failed("a"), cancelled()] {
            assert!(frees_slot(running.as_ref(), job(&[enqueued(), started("a"), last]).as_ref()));
        }
        assert!(frees_slot(running.as_ref(), after(delayed()).as_ref()));
        assert!(frees_slot(job(&[enqueued()]).as_ref(), job(&[enqueued(), cancelled()]).as_ref()));
        assert!(!frees_slot(job(&[held()]).as_ref(), job(&[held(), cancelled()]).as_ref()));
        assert!(!frees_slot(running.as_ref(), job(&[enqueued()]).as_ref()));
    }

    #[test]
    fn the_next_held_job_gets_the_slot_if_it_is_still_held() {
        let limits = Limits::default();
        let ending = there([enqueued(), started("a")]);
        let next = there([held()]);
        let handover = hand_over(&ending, &taken(), Some(&next), &limits);
        let at = Guard::JobAt { job: next.id, version: 1 };
        assert_eq!(handover.guards, [at, Guard::SlotsBelow { user: user("alice"), limit: 2 }]);
        assert_eq!(handover.next, Some((next, JobEvent::Dispatched {})));
        assert_eq!(handover.work, [add_ticket()]);
    }

    #[test]
    fn nobody_gets_a_slot_where_none_is_held_or_too_many_are_in_use() {
        let ending = there([enqueued(), started("a")]);
        let handover = hand_over(&ending, &taken(), None, &Limits::default());
        assert_eq!((handover.next, handover.guards), (None, vec![Guard::NoneHeld(user("alice"))]));
        let lowered = Usage { active: 3, ..Usage::default() };
        let handover = hand_over(&ending, &lowered, Some(&there([held()])), &Limits::default());
        let still = Guard::SlotsFull { user: user("alice"), limit: 2 };
        assert_eq!((handover.next, handover.guards), (None, vec![still]));
    }

    #[test]
    fn a_key_that_was_used_makes_no_second_job() {
        let key = Idempotency { key_sha256: "k".to_owned(), body_sha256: "b".to_owned() };
        let unused = Guard::IdempotencyKeyUnused { user: user("alice"), key_sha256: "k".to_owned() };
        let spec = JobSpec { idempotency: Some(key), ..spec() };
        given([])
            .when(JobCommand::Enqueue(spec.clone()))
            .then([JobEvent::Enqueued { spec, dispatched: true }])
            .with_guards([vec![unused], admission_guards(slot_free()).to_vec()].concat())
            .with_work([add_ticket()])
            .with_lane(Lane::Admission);
    }
}

mod dispatching {
    use super::*;

    #[test]
    fn a_held_job_gets_its_ticket_when_its_user_has_a_slot() {
        given([held()])
            .when(JobCommand::Dispatch)
            .then([JobEvent::Dispatched {}])
            .with_guards([slot_free()])
            .with_work([add_ticket()]);
    }

    #[test]
    fn a_delayed_job_gets_a_new_ticket() {
        given(delayed())
            .when(JobCommand::Dispatch)
            .then([JobEvent::Dispatched {}])
            .with_guards([slot_free()])
            .with_work([add_ticket()]);
    }

    #[test]
    fn a_job_never_has_two_tickets() {
        given([enqueued()]).when(JobCommand::Dispatch).then_already_applied();
        given([enqueued(), started("a")]).when(JobCommand::Dispatch).then_already_applied();
    }

    #[test]
    fn what_has_ended_gets_no_ticket() {
        given([enqueued(), cancel_requested(), cancelled()])
            .when(JobCommand::Dispatch)
            .then_refused(Rejection::Ended(JobStatus::Cancelled));
    }
}

mod starting {
    use super::*;

    #[test]
    fn a_dispatched_job_starts_under_the_fence_drawn_for_it() {
        given([enqueued()]).when(start("a")).then([started("a")]).with_work([take_lease("a")]);
    }

    #[test]
    fn a_start_whose_answer_was_lost_is_found_done() {
        given([enqueued(), started("a")]).when(start("a")).then_already_applied();
    }

    #[test]
    fn a_second_worker_with_the_same_ticket_is_refused() {
        given([enqueued(), started("a")]).when(start("b")).then_refused(Rejection::NotStartable);
    }

    #[test]
    fn a_start_under_a_fence_used_before_is_refused_though_the_job_waits_again() {
        let waiting_again = [delayed(), vec![JobEvent::Dispatched {}]].concat();
        given(waiting_again.clone()).when(start("a")).then_refused(Rejection::NotStartable);
        given(waiting_again).when(start("b")).then([started("b")]).with_work([take_lease("b")]);
    }

    #[test]
    fn a_fence_used_before_a_replay_stays_used() {
        given([enqueued(), started("a"), failed("a"), replayed(request(1))])
            .when(start("a"))
            .then_refused(Rejection::NotStartable);
    }

    #[test]
    fn what_has_no_ticket_can_not_start() {
        given([held()]).when(start("a")).then_refused(Rejection::NotStartable);
        given(delayed()).when(start("b")).then_refused(Rejection::NotStartable);
    }

    #[test]
    fn the_lease_is_as_long_as_the_policy_says() {
        let policy = Policy { lease: Duration::from_millis(1500), ..Policy::default() };
        let lease = WorkChange::TakeLease {
            job: job_id(),
            fence: fence("a"),
            ticket: ticket(),
            worker: worker(),
            lease_ms: 1500,
        };
        given([enqueued()]).under(policy).when(start("a")).then([started("a")]).with_work([lease]);
    }

    #[test]
    fn a_running_job_shows_who_runs_it_and_which_attempt_this_is() {
        let job = there([delayed(), vec![JobEvent::Dispatched {}, started("b")]].concat());
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(job.current_fence(), Some(&fence("b")));
        assert_eq!(job.fences, [fence("a"), fence("b")]);
        assert_eq!(job.attempt(), 2);
        let run = Run {
            started_at: moment(6),
            worker: worker(),
            gpus: vec!["GPU-1".to_owned()],
            sandbox: "standard".to_owned(),
            tracking: Tracking::All,
        };
        assert_eq!(job.run, Some(run));
    }
}

mod ending {
    use super::*;

    #[test]
    fn a_run_that_completes_gives_its_lease_and_ticket_back() {
        given([enqueued(), started("a")]).when(complete("a")).then([completed("a")]).with_work([release_lease()]);
    }

    #[test]
    fn a_run_that_fails_is_final_and_gives_its_lease_and_ticket_back() {
        given([enqueued(), started("a")]).when(fail("a")).then([failed("a")]).with_work([release_lease()]);
    }

    #[test]
    fn an_end_whose_answer_was_lost_is_found_done() {
        given([enqueued(), started("a"), completed("a")]).when(complete("a")).then_already_applied();
        given([enqueued(), started("a"), failed("a")]).when(fail("a")).then_already_applied();
    }

    #[test]
    fn a_completion_retried_after_the_run_was_tracked_is_still_found_done() {
        given([enqueued(), started("a"), completed("a"), tracked("r1")]).when(complete("a")).then_already_applied();
    }

    #[test]
    fn a_run_has_one_outcome() {
        given([enqueued(), started("a"), failed("a")]).when(complete("a")).then_refused(Rejection::FenceLost);
        given([enqueued(), started("a"), completed("a")]).when(fail("a")).then_refused(Rejection::FenceLost);
    }

    #[test]
    fn a_worker_that_wakes_up_late_can_change_nothing() {
        let second_run = [delayed(), vec![JobEvent::Dispatched {}, started("b")]].concat();
        for late in [complete("a"), fail("a"), acknowledge("a")] {
            given(second_run.clone()).when(late.clone()).then_refused(Rejection::FenceLost);
            given(delayed()).when(late).then_refused(Rejection::FenceLost);
        }
    }

    #[test]
    fn a_late_outcome_of_the_run_before_the_accepted_one_is_refused() {
        let second_completed = [delayed(), vec![JobEvent::Dispatched {}, started("b"), completed("b")]].concat();
        given(second_completed).when(complete("a")).then_refused(Rejection::FenceLost);
    }

    #[test]
    fn the_outcome_of_a_run_that_was_replayed_meanwhile_is_refused() {
        given([enqueued(), started("a"), failed("a"), replayed(request(1))])
            .when(fail("a"))
            .then_refused(Rejection::FenceLost);
    }

    #[test]
    fn an_ended_job_tells_when_and_why() {
        let job = there([enqueued(), started("a"), failed("a")]);
        assert_eq!(job.status(), JobStatus::Failed);
        assert_eq!(job.ended_at(), Some(moment(3)));
        assert_eq!(job.error(), Some("it exited with code 1"));
        assert_eq!(job.current_fence(), None);

        let job = there([enqueued(), started("a"), completed("a")]);
        assert_eq!(job.status(), JobStatus::Completed);
        assert_eq!(job.error(), None);
        assert_eq!(job.tracked, Some(run_record("inline")));
    }
}

mod losing_a_lease {
    use super::*;

    #[test]
    fn a_lost_worker_costs_a_wait_and_no_ticket_until_then() {
        given([enqueued(), started("a")])
            .when(lose("a", LossCause::WorkerLost))
            .then([lease_lost("a", LossCause::WorkerLost), retry(1, 2)])
            .with_work([release_lease()]);
    }

    #[test]
    fn the_wait_is_longer_after_the_second_loss() {
        given(lost([LossCause::WorkerLost]))
            .when(lose("b", LossCause::WorkerLost))
            .then([lease_lost("b", LossCause::WorkerLost), retry(5, 3)])
            .with_work([release_lease()]);
    }

    #[test]
    fn the_third_lost_worker_makes_a_dead_letter() {
        given(lost([LossCause::WorkerLost, LossCause::WorkerLost]))
            .when(lose("c", LossCause::WorkerLost))
            .then([lease_lost("c", LossCause::WorkerLost), poisonous()])
            .with_work([release_lease()]);
    }

    #[test]
    fn a_dead_letter_shows_as_failed_with_its_reason() {
        let job = there([enqueued(), started("a"), lease_lost("a", LossCause::WorkerLost), poisonous()]);
        assert_eq!(job.status(), JobStatus::Failed);
        assert_eq!(job.error(), Some("it was not heard of"));
    }

    #[test]
    fn faults_of_the_platform_and_lost_workers_are_counted_apart() {
        given(lost([LossCause::WorkerLost, LossCause::WorkerLost]))
            .when(lose("c", LossCause::Infrastructure))
            .then([lease_lost("c", LossCause::Infrastructure), retry(1, 4)])
            .with_work([release_lease()]);
        let job = there(lost([LossCause::WorkerLost, LossCause::Infrastructure]));
        let losses = Losses { worker_lost: 1, infrastructure: 1 };
        assert_eq!(job.losses, losses);
    }

    #[test]
    fn the_platform_may_fail_a_job_as_often_as_it_may_be_retried() {
        let policy = Policy { max_retries: 1, ..Policy::default() };
        given([enqueued(), started("a")])
            .under(policy.clone())
            .when(lose("a", LossCause::Infrastructure))
            .then([lease_lost("a", LossCause::Infrastructure), retry(1, 2)])
            .with_work([release_lease()]);
        let given_up = JobEvent::DeadLettered {
            kind: DeadLetterKind::Infrastructure,
            error: "it was not heard of".to_owned(),
            refunded: false,
        };
        given(lost([LossCause::Infrastructure]))
            .under(policy)
            .when(lose("b", LossCause::Infrastructure))
            .then([lease_lost("b", LossCause::Infrastructure), given_up])
            .with_work([release_lease()]);
    }

    #[test]
    fn a_drained_job_goes_back_at_once_with_a_new_ticket() {
        given([enqueued(), started("a")])
            .when(lose("a", LossCause::Drain))
            .then([lease_lost("a", LossCause::Drain), retry(0, 2), JobEvent::Dispatched {}])
            .with_work([release_lease(), add_ticket()]);
    }

    #[test]
    fn a_drain_counts_as_no_loss_however_often() {
        let drained = lost([LossCause::Drain; 5]);
        assert_eq!(there(drained.clone()).losses, Losses::default());
        given(drained)
            .when(lose("f", LossCause::WorkerLost))
            .then([lease_lost("f", LossCause::WorkerLost), retry(1, 7)])
            .with_work([release_lease()]);
    }

    #[test]
    fn a_worker_that_is_unfit_costs_a_wait_and_no_try_but_not_for_ever() {
        let policy = Policy { max_retries: 0, ..Policy::default() };
        let decided = |starts: usize| {
            let mut job = after([enqueued(), started("a")]).unwrap();
            let older = (1..starts).map(|number| format!("{number:024x}").parse().unwrap());
            job.fences = older.chain([fence("a")]).collect();
            decide(job_id(), Some(&job), &lose("a", LossCause::WorkerUnfit), &context(&policy, &Usage::default()))
        };
        let kinds = |starts| match decided(starts) {
            Ok(Decision::Happens { events, .. }) => events.iter().map(JobEvent::kind).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(kinds(1), ["job.lease_lost", "job.retry_scheduled"]);
        assert_eq!(kinds(31), ["job.lease_lost", "job.retry_scheduled"]);
        assert_eq!(kinds(32), ["job.lease_lost", "job.dead_lettered"]);
        let job = after([enqueued(), started("a"), lease_lost("a", LossCause::WorkerUnfit), retry(1, 2)]).unwrap();
        assert_eq!(job.losses, Losses::default());
    }

    #[test]
    fn a_job_whose_end_was_asked_for_ends_with_its_lease() {
        for cause in [LossCause::WorkerLost, LossCause::Infrastructure, LossCause::Drain] {
            given([enqueued(), started("a"), cancel_requested()])
                .when(lose("a", cause))
                .then([lease_lost("a", cause), cancelled()])
                .with_work([release_lease()]);
        }
    }

    #[test]
    fn a_loss_whose_answer_was_lost_is_found_done_however_far_the_job_got() {
        given(delayed()).when(lose("a", LossCause::WorkerLost)).then_already_applied();
        given(lost([LossCause::WorkerLost])).when(lose("a", LossCause::WorkerLost)).then_already_applied();
    }

    #[test]
    fn a_lease_that_ended_with_its_run_is_as_good_as_lost() {
        given([enqueued(), started("a"), completed("a")]).when(lose("a", LossCause::WorkerLost)).then_already_applied();
    }

    #[test]
    fn a_fence_that_never_was_has_no_lease_to_lose() {
        given([enqueued(), started("a")]).when(lose("b", LossCause::WorkerLost)).then_refused(Rejection::FenceLost);
    }

    #[test]
    fn a_due_time_is_a_whole_microsecond_as_it_is_stored() {
        let policy = Policy::default();
        let usage = Usage::default();
        let uneven = Context { jitter: 0.912_345_678_9, ..context(&policy, &usage) };
        let job = there([enqueued(), started("a")]);
        let lose = lose("a", LossCause::WorkerLost);
        let decided = decide(job_id(), Some(&job), &lose, &uneven);
        let Ok(Decision::Happens { events, .. }) = decided else { panic!("{decided:?}") };
        let retry = JobEvent::RetryScheduled { at: now() + Duration::from_micros(912_345), attempt: 2 };
        assert_eq!(events[1], retry);
    }
}

mod cancelling {
    use super::*;

    #[test]
    fn a_job_that_no_worker_holds_ends_at_once() {
        for command in [cancel(), force_cancel()] {
            for waiting in [vec![held()], vec![enqueued()], delayed()] {
                // Its place in the hour has gone by itself: see `limits`.
                given(waiting).when(command.clone()).then([cancel_requested(), cancelled()]);
            }
        }
    }

    #[test]
    fn the_ticket_of_a_job_cancelled_before_its_start_starts_nothing() {
        given([enqueued(), cancel_requested(), cancelled()]).when(start("a")).then_refused(Rejection::NotStartable);
    }

    #[test]
    fn a_running_job_is_asked_to_end_and_keeps_its_lease_until_it_has() {
        given([enqueued(), started("a")]).when(cancel()).then([cancel_requested()]);
        let job = there([enqueued(), started("a"), cancel_requested()]);
        assert_eq!(job.status(), JobStatus::Running);
        assert_eq!(job.current_fence(), Some(&fence("a")));
    }

    #[test]
    fn asking_twice_is_asking_once() {
        given([enqueued(), started("a"), cancel_requested()]).when(cancel()).then_already_applied();
        given([enqueued(), cancel_requested(), cancelled()]).when(cancel()).then_already_applied();
    }

    #[test]
    fn a_worker_that_ended_the_run_says_so_under_its_fence() {
        given([enqueued(), started("a"), cancel_requested()])
            .when(acknowledge("a"))
            .then([cancelled()])
            .with_work([release_lease()]);
    }

    #[test]
    fn an_acknowledgement_whose_answer_was_lost_is_found_done() {
        given([enqueued(), started("a"), cancel_requested(), cancelled()])
            .when(acknowledge("a"))
            .then_already_applied();
    }

    #[test]
    fn force_ends_a_running_job_and_its_lease_at_once() {
        given([enqueued(), started("a")])
            .when(force_cancel())
            .then([cancel_requested(), cancelled()])
            .with_work([release_lease()]);
    }

    #[test]
    fn force_ends_a_job_whose_worker_was_asked_and_does_not_answer() {
        given([enqueued(), started("a"), cancel_requested()])
            .when(force_cancel())
            .then([cancel_requested(), cancelled()])
            .with_work([release_lease()]);
    }

    #[test]
    fn a_run_that_force_ended_can_commit_nothing_any_more() {
        for late in [complete("a"), fail("a")] {
            given([enqueued(), started("a"), cancel_requested(), cancelled()])
                .when(late)
                .then_refused(Rejection::FenceLost);
        }
    }

    #[test]
    fn a_run_that_ended_by_itself_commits_its_true_outcome() {
        given([enqueued(), started("a"), cancel_requested()])
            .when(complete("a"))
            .then([completed("a")])
            .with_work([release_lease()]);
        given([enqueued(), started("a"), cancel_requested()])
            .when(fail("a"))
            .then([failed("a")])
            .with_work([release_lease()]);
    }

    #[test]
    fn what_ended_otherwise_can_not_be_cancelled() {
        given([enqueued(), started("a"), completed("a")])
            .when(cancel())
            .then_refused(Rejection::Ended(JobStatus::Completed));
        given([enqueued(), started("a"), failed("a")])
            .when(force_cancel())
            .then_refused(Rejection::Ended(JobStatus::Failed));
        given([enqueued(), started("a"), lease_lost("a", LossCause::WorkerLost), poisonous()])
            .when(cancel())
            .then_refused(Rejection::Ended(JobStatus::Failed));
    }
}

mod replaying {
    use super::*;

    #[test]
    fn what_failed_runs_again_if_its_submission_is_still_there() {
        for end in [failed("a"), poisonous()] {
            given([enqueued(), started("a"), end])
                .when(replay(request(1)))
                .then([replayed(request(1))])
                .with_guards([Guard::SubmissionReady(submission()), Guard::ClassOffered(spec().class), slot_free()])
                .with_work([add_ticket()]);
        }
    }

    #[test]
    fn a_replay_whose_answer_was_lost_is_found_done_however_far_the_job_got() {
        let replayed_once = [enqueued(), started("a"), failed("a"), replayed(request(1))];
        for since in [vec![], vec![started("b")], vec![started("b"), failed("b")], vec![started("b"), completed("b")]] {
            given([replayed_once.to_vec(), since].concat()).when(replay(request(1))).then_already_applied();
        }
    }

    #[test]
    fn a_second_request_is_told_from_a_repeated_one() {
        let replayed_once = [enqueued(), started("a"), failed("a"), replayed(request(1))];
        given(replayed_once.clone()).when(replay(request(2))).then_refused(Rejection::NotEnded);
        given([replayed_once.to_vec(), vec![started("b"), failed("b")]].concat())
            .when(replay(request(2)))
            .then([replayed(request(2))])
            .with_guards([Guard::SubmissionReady(submission()), Guard::ClassOffered(spec().class), slot_free()])
            .with_work([add_ticket()]);
    }

    #[test]
    fn a_replay_begins_with_no_losses_no_wish_to_end_and_no_tracked_run_but_keeps_its_fences() {
        let history = [
            lost([LossCause::WorkerLost, LossCause::Infrastructure]),
            vec![cancel_requested(), failed("c"), tracked("r1"), replayed(request(1))],
        ];
        let job = there(history.concat());
        assert_eq!(job.losses, Losses::default());
        assert_eq!(job.cancel_requested_by, None);
        assert_eq!(job.tracked, None);
        assert_eq!(job.fences, [fence("a"), fence("b"), fence("c")]);
        assert_eq!(job.state, JobState::Pending(Waiting::Dispatched(job.updated_at)));
        assert_eq!(job.attempt(), 3, "the next start has a log of its own");
    }

    #[test]
    fn a_replayed_job_may_lose_three_workers_again() {
        let history = [
            lost([LossCause::WorkerLost, LossCause::WorkerLost]),
            vec![lease_lost("c", LossCause::WorkerLost), poisonous(), replayed(request(1)), started("d")],
        ];
        given(history.concat())
            .when(lose("d", LossCause::WorkerLost))
            .then([lease_lost("d", LossCause::WorkerLost), retry(1, 5)])
            .with_work([release_lease()]);
    }

    #[test]
    fn what_did_not_fail_is_not_replayed() {
        given([enqueued(), started("a"), completed("a")])
            .when(replay(request(1)))
            .then_refused(Rejection::NotReplayable(JobStatus::Completed));
        given([enqueued(), cancel_requested(), cancelled()])
            .when(replay(request(1)))
            .then_refused(Rejection::NotReplayable(JobStatus::Cancelled));
    }
}

mod tracking_and_expiring {
    use super::*;

    #[test]
    fn a_run_that_the_tracker_got_late_is_noted() {
        for end in [failed("a"), cancelled(), poisonous()] {
            given([enqueued(), started("a"), end]).when(track("r1")).then([tracked("r1")]);
        }
    }

    #[test]
    fn noting_a_run_twice_is_noting_it_once() {
        given([enqueued(), started("a"), failed("a"), tracked("r1")]).when(track("r1")).then_already_applied();
        given([enqueued(), started("a"), completed("a"), tracked("r1")]).when(track("r1")).then_already_applied();
    }

    #[test]
    fn a_run_that_was_recorded_before_its_end_waits_to_be_closed() {
        given([enqueued(), started("a"), completed("a")]).when(track("inline")).then([tracked("inline")]);
        let job = there([enqueued(), started("a"), completed("a")]);
        assert_eq!(untracked(&job), [fence("a")]);
        let job = there([enqueued(), started("a"), completed("a"), tracked("inline")]);
        assert_eq!(untracked(&job), []);
    }

    #[test]
    fn each_end_of_a_replayed_job_is_recorded() {
        let history = [enqueued(), started("a"), failed("a"), replayed(request(1)), started("b")];
        given(history.clone()).when(track("r1")).then([tracked("r1")]);
        let job = there([history.to_vec(), vec![failed("b")]].concat());
        assert_eq!(untracked(&job), [fence("a"), fence("b")]);
        let job = there([history.to_vec(), vec![completed("b"), tracked_under("b", "r2"), tracked("r1")]].concat());
        assert_eq!(job.tracked, Some(run_record("r2")), "its last run's");
        assert_eq!(untracked(&job), []);
    }

    #[test]
    fn what_ended_without_a_run_of_its_own_is_not_recorded() {
        let never_began = there([enqueued(), cancel_requested(), cancelled()]);
        assert_eq!(untracked(&never_began), []);
        let ended_before = [enqueued(), started("a"), failed("a"), tracked("r1"), replayed(request(1))];
        let job = there([ended_before.to_vec(), vec![cancel_requested(), cancelled()]].concat());
        assert_eq!(untracked(&job), []);
        let lost = there([delayed(), vec![cancel_requested(), cancelled()]].concat());
        assert_eq!(untracked(&lost), [fence("a")]);
    }

    #[test]
    fn what_is_recorded_is_what_its_start_said() {
        let ends = [completed("a"), failed("a"), cancelled(), poisonous()];
        for (tracking, recorded) in [(Tracking::Off, 0), (Tracking::Completed, 1), (Tracking::All, 4)] {
            let started = |tracking| match started("a") {
                JobEvent::Started { fence, worker, gpus, sandbox, .. } => {
                    JobEvent::Started { fence, worker, gpus, sandbox, tracking }
                }
                other => other,
            };
            let of_end = |end: &JobEvent| untracked(&there([enqueued(), started(tracking), end.clone()])).len();
            assert_eq!(ends.iter().map(of_end).sum::<usize>(), recorded, "{tracking:?}");
        }
    }

    fn untracked(job: &Job) -> Vec<Fence> {
        job.untracked.iter().map(|end| end.fence.clone()).collect()
    }

    #[test]
    fn a_record_made_anew_takes_the_place_of_the_one_before() {
        given([enqueued(), started("a"), completed("a")]).when(track("r1")).then([tracked("r1")]);
        let job = there([enqueued(), started("a"), completed("a"), tracked("r1")]);
        assert_eq!(job.tracked, Some(run_record("r1")));
    }

    #[test]
    fn a_run_that_has_not_ended_has_no_final_record() {
        given([enqueued(), started("a")]).when(track("r1")).then_refused(Rejection::NothingToTrack);
        given([enqueued(), started("a"), failed("a"), tracked("r1"), replayed(request(1))])
            .when(track("r1"))
            .then_refused(Rejection::NothingToTrack);
    }

    #[test]
    fn only_what_has_ended_expires() {
        given([enqueued(), started("a"), completed("a")]).when(JobCommand::Expire).then([expired()]);
        given([enqueued()]).when(JobCommand::Expire).then_refused(Rejection::NotEnded);
    }
}

mod folding {
    use super::*;

    #[test]
    fn a_job_carries_its_version_its_times_and_the_trace_of_its_request() {
        let trace: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let first = Envelope { trace: Some(trace.clone()), ..envelope(1, enqueued()) };
        let job = evolve(job_id(), None, &first);
        let job = evolve(job_id(), job, &envelope(2, started("a"))).unwrap();
        assert_eq!(job.id, job_id());
        assert_eq!(job.version, 2);
        assert_eq!(job.spec, spec());
        assert_eq!((job.created_at, job.updated_at), (moment(1), moment(2)));
        assert_eq!(job.trace, Some(trace), "the request's, not the worker's");
    }

    #[test]
    fn an_event_before_the_first_makes_nothing() {
        assert_eq!(evolve(job_id(), None, &envelope(1, started("a"))), None);
    }
}

/// What a test says first: the job as these events left it.
fn given(events: impl IntoIterator<Item = JobEvent>) -> Given {
    Given { job: after(events), policy: Policy::default(), usage: Usage::default(), now: now() }
}

struct Given {
    job: Option<Job>,
    policy: Policy,
    usage: Usage,
    now: Timestamp,
}

impl Given {
    fn under(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    fn using(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    fn when(self, command: JobCommand) -> When {
        let context = Context { now: self.now, policy: &self.policy, usage: &self.usage, jitter: 1.0 };
        let answer = decide(job_id(), self.job.as_ref(), &command, &context);
        When { command, answer }
    }
}

struct When {
    command: JobCommand,
    answer: Result<Decision, Rejection>,
}

impl When {
    #[track_caller]
    fn then(self, expected: impl IntoIterator<Item = JobEvent>) -> Then {
        let Ok(Decision::Happens { events, guards, work, lane }) = self.answer else {
            panic!("{:?} led to {:?}", self.command, self.answer)
        };
        assert_eq!(events, expected.into_iter().collect::<Vec<_>>());
        Then { guards, work, lane }
    }

    #[track_caller]
    fn then_already_applied(self) {
        assert_eq!(self.answer, Ok(Decision::AlreadyApplied), "{:?}", self.command);
    }

    #[track_caller]
    fn then_refused(self, why: Rejection) {
        assert_eq!(self.answer, Err(why), "{:?}", self.command);
    }
}

/// What came with the events. What a test does not claim must not be there: that is checked when this is dropped.
struct Then {
    guards: Vec<Guard>,
    work: Vec<WorkChange>,
    lane: Lane,
}

impl Then {
    #[track_caller]
    fn with_guards(mut self, expected: impl IntoIterator<Item = Guard>) -> Self {
        let guards = std::mem::take(&mut self.guards);
        assert_eq!(guards, expected.into_iter().collect::<Vec<_>>());
        self
    }

    #[track_caller]
    fn with_work(mut self, expected: impl IntoIterator<Item = WorkChange>) -> Self {
        let work = std::mem::take(&mut self.work);
        assert_eq!(work, expected.into_iter().collect::<Vec<_>>());
        self
    }

    #[track_caller]
    fn with_lane(mut self, expected: Lane) -> Self {
        let lane = std::mem::replace(&mut self.lane, Lane::Progress);
        assert_eq!(lane, expected);
        self
    }
}

impl Drop for Then {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.guards, [], "guards that the test did not claim");
            assert_eq!(self.work, [], "work that the test did not claim");
            assert_eq!(self.lane, Lane::Progress, "a lane that the test did not claim");
        }
    }
}

fn after(events: impl IntoIterator<Item = JobEvent>) -> Option<Job> {
    (1..).zip(events).fold(None, |job, (seq, event)| evolve(job_id(), job, &envelope(seq, event)))
}

fn there(events: impl IntoIterator<Item = JobEvent>) -> Job {
    after(events).expect("these events leave a job")
}

/// The n-th event happens n seconds after the beginning.
fn envelope(seq: u64, event: JobEvent) -> Envelope<JobEvent> {
    Envelope { seq, at: moment(seq), actor: Actor::System("test".to_owned()), trace: None, event }
}

fn moment(seconds: u64) -> Timestamp {
    from_unix_micros(1_700_000_000_000_000) + Duration::from_secs(seconds)
}

/// When every command is decided: two hours after the beginning, so that nothing is left of the hour.
fn now() -> Timestamp {
    moment(7200)
}

fn context<'a>(policy: &'a Policy, usage: &'a Usage) -> Context<'a> {
    Context { now: now(), policy, usage, jitter: 1.0 }
}

fn slot_free() -> Guard {
    Guard::SlotsBelow { user: user("alice"), limit: 1 }
}

fn slots_taken() -> Guard {
    Guard::SlotsFull { user: user("alice"), limit: 1 }
}

/// The guards of accepting a job under the default policy, the last of which is about its slot.
fn admission_guards(slot: Guard) -> [Guard; 6] {
    let (user, since) = (user("alice"), now() - Duration::from_hours(1));
    [
        Guard::SubmissionReady(submission()),
        Guard::ClassOffered(spec().class),
        Guard::AcceptedBelow { user: user.clone(), since, limit: 10 },
        Guard::RunningBelow { user: user.clone(), limit: 1 },
        Guard::PendingBelow { user, limit: 20 },
        slot,
    ]
}

// Things.

fn job_id() -> JobId {
    "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap()
}

fn submission() -> SubmissionId {
    "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap()
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn spec() -> JobSpec {
    JobSpec {
        submission: submission(),
        user: user("alice"),
        class: "small".parse().unwrap(),
        config: r#"{"seed": 1}"#.to_owned(),
        idempotency: None,
    }
}

/// The fence of 24 times this digit.
fn fence(digit: &str) -> Fence {
    digit.repeat(24).parse().unwrap()
}

fn request(number: u8) -> RequestId {
    format!("{number:032x}").parse().unwrap()
}

fn worker() -> Consumer {
    "gpu1-5f3a".parse().unwrap()
}

fn ticket() -> Ticket {
    Ticket { class: spec().class, id: StreamId { ms: 1, seq: 0 } }
}

fn run_record(run_id: &str) -> TrackedRun {
    TrackedRun { run_id: run_id.to_owned(), experiment_id: "7".to_owned() }
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::NonzeroExit,
        error: "it exited with code 1".to_owned(),
        exit_code: Some(1),
        log_tail: String::new(),
    }
}

// Histories.

/// A job that lost its first worker, fence `a`, and waits for its second try.
fn delayed() -> Vec<JobEvent> {
    vec![enqueued(), started("a"), lease_lost("a", LossCause::WorkerLost), retry(1, 2)]
}

/// A job that lost its leases by these causes, one after the other, and runs again; its fences are `a`, `b`, `c`, …
fn lost(causes: impl IntoIterator<Item = LossCause>) -> Vec<JobEvent> {
    let mut history = vec![enqueued(), started("a")];
    let fences = ["a", "b", "c", "d", "e", "f"];
    for (pair, cause) in fences.windows(2).zip(causes) {
        history.extend([lease_lost(pair[0], cause), retry(1, 2), JobEvent::Dispatched {}, started(pair[1])]);
    }
    history
}

// Events.

fn enqueued() -> JobEvent {
    JobEvent::Enqueued { spec: spec(), dispatched: true }
}

fn held() -> JobEvent {
    JobEvent::Enqueued { spec: spec(), dispatched: false }
}

fn started(by: &str) -> JobEvent {
    JobEvent::Started {
        fence: fence(by),
        worker: worker(),
        gpus: vec!["GPU-1".to_owned()],
        sandbox: "standard".to_owned(),
        tracking: Tracking::All,
    }
}

fn completed(by: &str) -> JobEvent {
    JobEvent::Completed {
        fence: fence(by),
        results: Results::default(),
        artifacts: ArtifactTotals::default(),
        tracked: Some(run_record("inline")),
    }
}

fn failed(by: &str) -> JobEvent {
    JobEvent::Failed { fence: fence(by), failure: failure() }
}

fn lease_lost(by: &str, cause: LossCause) -> JobEvent {
    JobEvent::LeaseLost { fence: fence(by), cause, error: "it was not heard of".to_owned() }
}

fn retry(after_seconds: u64, attempt: u32) -> JobEvent {
    JobEvent::RetryScheduled { at: now() + Duration::from_secs(after_seconds), attempt }
}

fn poisonous() -> JobEvent {
    JobEvent::DeadLettered {
        kind: DeadLetterKind::WorkerLost,
        error: "it was not heard of".to_owned(),
        refunded: false,
    }
}

fn replayed(request: RequestId) -> JobEvent {
    JobEvent::Replayed { by: user("root"), why: "the disk was full".to_owned(), request, dispatched: true }
}

fn cancel_requested() -> JobEvent {
    JobEvent::CancelRequested { by: user("alice") }
}

fn cancelled() -> JobEvent {
    JobEvent::Cancelled { refunded: false, reason: None }
}

fn tracked(run_id: &str) -> JobEvent {
    tracked_under("a", run_id)
}

fn tracked_under(by: &str, run_id: &str) -> JobEvent {
    JobEvent::Tracked { fence: Some(fence(by)), run: run_record(run_id) }
}

fn expired() -> JobEvent {
    JobEvent::Expired {}
}

// Commands.

fn enqueue() -> JobCommand {
    JobCommand::Enqueue(spec())
}

fn start(by: &str) -> JobCommand {
    JobCommand::Start(Start {
        fence: fence(by),
        ticket: ticket(),
        worker: worker(),
        gpus: vec!["GPU-1".to_owned()],
        sandbox: "standard".to_owned(),
        tracking: Tracking::All,
    })
}

fn complete(by: &str) -> JobCommand {
    JobCommand::Complete {
        fence: fence(by),
        results: Results::default(),
        artifacts: ArtifactTotals::default(),
        tracked: Some(run_record("inline")),
    }
}

fn fail(by: &str) -> JobCommand {
    JobCommand::Fail { fence: fence(by), failure: failure() }
}

fn lose(by: &str, cause: LossCause) -> JobCommand {
    JobCommand::LoseLease { fence: fence(by), cause, error: "it was not heard of".to_owned() }
}

fn cancel() -> JobCommand {
    JobCommand::RequestCancel { by: user("alice"), force: CancelMode::Graceful }
}

fn force_cancel() -> JobCommand {
    JobCommand::RequestCancel { by: user("alice"), force: CancelMode::Force }
}

fn withdraw() -> JobCommand {
    JobCommand::Withdraw { reason: "resource class small was removed".to_owned() }
}

fn acknowledge(by: &str) -> JobCommand {
    JobCommand::AcknowledgeCancel { fence: fence(by) }
}

fn replay(request: RequestId) -> JobCommand {
    JobCommand::Replay { by: user("root"), why: "the disk was full".to_owned(), request }
}

fn track(run_id: &str) -> JobCommand {
    JobCommand::Track { fence: fence("a"), run: run_record(run_id) }
}

// Work.

fn add_ticket() -> WorkChange {
    WorkChange::AddTicket { class: spec().class, job: job_id() }
}

fn take_lease(by: &str) -> WorkChange {
    WorkChange::TakeLease { job: job_id(), fence: fence(by), ticket: ticket(), worker: worker(), lease_ms: 30_000 }
}

fn release_lease() -> WorkChange {
    WorkChange::ReleaseLease { job: job_id() }
}
