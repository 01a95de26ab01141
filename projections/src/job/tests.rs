//! A view read back is the state it was made of, and patches lead from any view to the next.

use std::collections::{BTreeMap, HashMap};

use events::failure::{Failure, FailureKind};
use events::job::{CancelMode, Context, Decision, JobCommand, Start, decide};
use events::time::from_unix_micros;
use events::{Actor, Fence, Idempotency, LossCause, Policy, Results, StreamId, Ticket, Usage};
use proptest::prelude::*;

use super::*;
use crate::patch::Patch;

fn id() -> JobId {
    "0192f1c3a4b57c6d8e9fa0b1c2d3e4f6".parse().unwrap()
}

fn keys() -> Keyspace {
    Keyspace::default()
}

fn fence(number: usize) -> Fence {
    format!("{number:024x}").parse().unwrap()
}

/// The keys of a Redis, as far as patches know them.
#[derive(Debug, Default, PartialEq)]
struct Store {
    hashes: BTreeMap<String, BTreeMap<&'static str, String>>,
    sets: BTreeMap<String, BTreeMap<String, Option<i64>>>,
    windows: BTreeMap<String, BTreeMap<String, i64>>,
    expiries: BTreeMap<String, i64>,
    places: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Store {
    fn apply(&mut self, patch: Patch) {
        match patch {
            Patch::SetFields { key, fields } => self.hashes.entry(key).or_default().extend(fields),
            Patch::RemoveFields { key, fields } => {
                let hash = self.hashes.entry(key).or_default();
                hash.retain(|field, _| !fields.contains(field));
            }
            Patch::NoteEventIds { .. } => {}
            Patch::AddMember { key, member, score } => {
                self.sets.entry(key).or_default().insert(member, score);
            }
            Patch::RemoveMember { key, member, .. } => {
                let in_set = self.sets.get_mut(&key).and_then(|set| set.remove(&member)).is_some();
                let in_window = self.windows.get_mut(&key).and_then(|window| window.remove(&member)).is_some();
                assert!(in_set || in_window, "{member} was not in {key}");
                self.sets.retain(|_, set| !set.is_empty());
                self.windows.retain(|_, window| !window.is_empty());
            }
            Patch::NoteInWindow { key, member, at_ms } => {
                self.windows.entry(key).or_default().insert(member, at_ms);
            }
            Patch::AddBytes { key, .. } => panic!("a job counts in no total, not in {key}"),
            Patch::ExpireAt { key, at_ms } => drop(self.expiries.insert(key, at_ms)),
            Patch::Rank { place, value } => {
                self.places.entry(place.standings).or_default().insert(place.member, value);
            }
            Patch::Unrank { place } => {
                let standings = self.places.get_mut(&place.standings).expect("it was ranked");
                assert!(standings.remove(&place.member).is_some(), "{} was not ranked", place.member);
                self.places.retain(|_, standings| !standings.is_empty());
            }
            Patch::Delete { key } => {
                self.hashes.remove(&key);
                self.expiries.remove(&key);
            }
        }
    }
}

fn results(number: usize) -> Results {
    let metrics = [("auc", 0.1 * number as f64), ("top@1:é", -0.0), ("tiny", 5e-324)];
    let metrics = metrics.into_iter().take(number % 4).map(|(name, value)| (name.to_owned(), value)).collect();
    Results { metrics, ..Results::default() }
}

fn command(number: usize, choice: u8, current: Option<&Fence>) -> JobCommand {
    let current = current.cloned().unwrap_or_else(|| fence(number));
    let run = || TrackedRun { run_id: format!("run{number}"), experiment_id: "7".to_owned() };
    match choice {
        0 | 1 => JobCommand::Start(Start {
            fence: fence(number),
            ticket: Ticket { class: "small".parse().unwrap(), id: StreamId { ms: 1, seq: 0 } },
            worker: "w-1".parse().unwrap(),
            gpus: if choice == 0 { vec![] } else { vec!["GPU-1".to_owned(), "GPU-2".to_owned()] },
            sandbox: "off".to_owned(),
            tracking: [Tracking::All, Tracking::Completed, Tracking::Off][number % 3],
        }),
        2 => JobCommand::Complete {
            fence: current,
            results: results(number),
            artifacts: ArtifactTotals { count: 2, bytes: 10, digest: "ab".to_owned() },
            tracked: Some(run()),
        },
        3 => {
            let kind = [FailureKind::Timeout, FailureKind::NonzeroExit][number % 2];
            let failure =
                Failure { kind, error: "it broke: \"x\"\n".to_owned(), exit_code: Some(1), log_tail: String::new() };
            JobCommand::Fail { fence: current, failure }
        }
        4 => JobCommand::LoseLease { fence: current, cause: LossCause::WorkerLost, error: "gone".to_owned() },
        5 => JobCommand::LoseLease { fence: current, cause: LossCause::Drain, error: "stopping".to_owned() },
        6 => JobCommand::Dispatch,
        7 => JobCommand::RequestCancel { by: "alice".parse().unwrap(), force: CancelMode::Graceful },
        8 => JobCommand::Replay {
            by: "root".parse().unwrap(),
            why: "again".to_owned(),
            request: format!("{number:032x}").parse().unwrap(),
        },
        9 => JobCommand::Track { fence: current, run: run() },
        _ => JobCommand::Expire,
    }
}

proptest! {
    #[test]
    fn every_state_survives_redis_and_every_patch_leads_to_the_next(
        choices in prop::collection::vec((0_u8..=9, 0_u64..=1), 0..40),
        keyed in any::<bool>(),
    ) {
        let keys = keys();
        let policy = Policy::default();
        let spec = JobSpec {
            submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
            user: "zoë".parse().unwrap(),
            class: "small".parse().unwrap(),
            config: "{}".to_owned(),
            idempotency: keyed.then(|| Idempotency { key_sha256: "k".to_owned(), body_sha256: "b".to_owned() }),
        };
        let commands = std::iter::once(None).chain(choices.into_iter().map(Some));
        let mut kept = Store::default();
        let mut job: Option<Job> = None;
        for (number, choice) in commands.enumerate() {
            let usage = Usage { active: choice.map_or(0, |(_, active)| active), ..Usage::default() };
            let command = match choice {
                None => JobCommand::Enqueue(spec.clone()),
                Some((choice, _)) => command(number, choice, job.as_ref().and_then(Job::current_fence)),
            };
            let now = from_unix_micros(1_700_000_000_000_000 + i64::try_from(number).unwrap() * 1_500_000);
            let context = Context { now, policy: &policy, usage: &usage, jitter: 1.0 };
            let Ok(Decision::Happens { events, .. }) = decide(id(), job.as_ref(), &command, &context) else { continue };
            let version = job.as_ref().map_or(0, |job| job.version);
            let actor = Actor::System("test".to_owned());
            let events: Vec<_> = (version + 1..)
                .zip(events)
                .map(|(seq, event)| Envelope { seq, at: now, actor: actor.clone(), trace: None, event })
                .collect();
            for patch in project(&keys, id(), job.as_ref(), &events) {
                kept.apply(patch);
            }
            job = events.iter().fold(job, |state, event| evolve(id(), state, event));

            let there = job.clone().unwrap();
            let view = view(&keys, &there);
            prop_assert_eq!(kept.hashes.get(&view.key), Some(&view.fields));
            let memberships: BTreeMap<_, _> =
                kept.sets.iter().map(|(key, members)| (key.clone(), members[&view.member])).collect();
            prop_assert_eq!(&memberships, &view.memberships);
            let windows: BTreeMap<_, _> =
                kept.windows.iter().map(|(key, members)| (key.clone(), members[&view.member])).collect();
            prop_assert_eq!(&windows, &view.windows);
            let places: BTreeMap<_, _> = view
                .places
                .iter()
                .map(|(key, (place, value))| (key.clone(), BTreeMap::from([(place.member.clone(), *value)])))
                .collect();
            prop_assert_eq!(&kept.places, &places);
            for (key, record) in &view.records {
                let fields: BTreeMap<_, _> = record.fields.iter().cloned().collect();
                prop_assert_eq!(kept.hashes.get(key), Some(&fields));
                prop_assert_eq!(kept.expiries.get(key), Some(&record.expires_at_ms));
            }
            prop_assert!(!kept.expiries.contains_key(&view.key), "a status goes by event");
            let hash: HashMap<String, String> =
                view.fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
            prop_assert_eq!(read(&view.key, id(), &hash), Ok(Some(there)));
        }
    }
}

#[test]
fn an_expired_job_leaves_no_key() {
    let keys = keys();
    let at = from_unix_micros(1_700_000_000_000_000);
    let envelope = |seq, event| Envelope { seq, at, actor: Actor::System("test".to_owned()), trace: None, event };
    let spec = JobSpec {
        submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
        user: "alice".parse().unwrap(),
        class: "small".parse().unwrap(),
        config: "{}".to_owned(),
        idempotency: None,
    };
    let story = [
        envelope(1, JobEvent::Enqueued { spec, dispatched: true }),
        envelope(2, JobEvent::Cancelled { refunded: true, reason: None }),
        envelope(3, JobEvent::Expired {}),
    ];
    let mut kept = Store::default();
    let mut job = None;
    for event in &story {
        for patch in project(&keys, id(), job.as_ref(), std::slice::from_ref(event)) {
            kept.apply(patch);
        }
        job = evolve(id(), job, event);
    }
    assert_eq!(kept, Store::default());
}

#[test]
fn a_completed_job_stands_on_the_board_of_each_of_its_metrics_until_it_expires() {
    let keys = keys();
    let at = from_unix_micros(1_700_000_000_000_000);
    let envelope = |seq, event| Envelope { seq, at, actor: Actor::System("test".to_owned()), trace: None, event };
    let spec = JobSpec {
        submission: "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5".parse().unwrap(),
        user: "zoë.of".parse().unwrap(),
        class: "small".parse().unwrap(),
        config: "{}".to_owned(),
        idempotency: None,
    };
    let user = spec.user.clone();
    let artifacts = ArtifactTotals::default();
    let completed = JobEvent::Completed { fence: fence(1), results: results(3), artifacts, tracked: None };
    let story = [envelope(1, JobEvent::Enqueued { spec, dispatched: true }), envelope(2, completed)];
    let patches = project(&keys, id(), None, &story);
    let job = story.iter().fold(None, |job, event| evolve(id(), job, event));
    let mut kept = Store::default();
    for patch in patches {
        kept.apply(patch);
    }
    for (metric, value) in [("auc", 0.1 * 3.0), ("top@1:é", 0.0), ("tiny", 5e-324)] {
        let key = keys.standings(metric, &user);
        let (member, found) = kept.places[&key].first_key_value().unwrap();
        assert_eq!(found.to_bits(), f64::to_bits(value), "{metric}");
        assert_eq!(keys.board_of(&key), Some((metric.to_owned(), Some(user.clone()))));
        assert_eq!(keys.member(&key, member), Some(AggregateId::Job(id())));
        assert!(board::stands(&keys, job.as_ref().unwrap(), &key, member));
        assert!(!board::stands(&keys, job.as_ref().unwrap(), &keys.standings("other", &user), member));
        let standing = board::read(&user, member, value).unwrap();
        assert_eq!((standing.completed_at, standing.job), (at, id()));
    }
    for patch in project(&keys, id(), job.as_ref(), &[envelope(3, JobEvent::Expired {})]) {
        kept.apply(patch);
    }
    assert_eq!(kept.places, BTreeMap::new());
}
