//! Commits as the script reads them: `MessagePack` of lists of strings.

use events::log::stored::StoredEvent;
use events::ports::Lease;
use events::quota::WINDOW_KEPT;
use events::{Change, Commit, Guard, Ticket, Timestamp, WorkChange};
use projections::board::{Place, score};
use projections::fields::BYTES;
use projections::job::RUNNING;
use projections::patch::SetKind;
use projections::{Keyspace, Patch};

/// A command, a guard or an event: a list of strings.
pub(crate) type Words = Vec<String>;

pub(crate) fn words<const N: usize>(words: [&str; N]) -> Words {
    words.map(str::to_owned).into()
}

/// A commit, ready for the script.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// What the script is sent.
    pub(crate) bytes: Vec<u8>,
    /// The guards in the order of the script's numbers; `None` is the version of the aggregate.
    pub(crate) guards: Vec<Option<Guard>>,
}

/// Encodes a commit: its own version guard first, then the others.
pub(crate) fn encode(keys: &Keyspace, commit: &Commit) -> Encoded {
    let mut guards = vec![version_guard(keys, &commit.change)];
    guards.extend(commit.guards.iter().map(|guard| encode_guard(keys, guard)));
    let (mut events, mut changes) = (Vec::new(), Vec::new());
    for change in std::iter::once(&commit.change).chain(&commit.next) {
        let first = events.len() + 1;
        events.extend(stored(change).into_iter().map(encode_event));
        for patch in projections::project(keys, change) {
            if let Patch::NoteEventIds { key } = &patch {
                changes.push(words(["note_ids", key, &first.to_string(), &events.len().to_string()]));
            } else {
                changes.extend(encode_patch(patch));
            }
        }
    }
    changes.extend(commit.work.iter().map(|work| encode_work(keys, work)));
    Encoded {
        bytes: rmp_serde::to_vec(&(guards, events, changes)).expect("lists of strings always serialise"),
        guards: std::iter::once(None).chain(commit.guards.iter().cloned().map(Some)).collect(),
    }
}

fn version_guard(keys: &Keyspace, change: &Change) -> Words {
    let (key, version) = match change {
        Change::Job { id, before, .. } => (keys.job(*id), before.as_ref().map_or(0, |job| job.version)),
        Change::Submission { id, before, .. } => {
            (keys.submission(*id), before.as_ref().map_or(0, |submission| submission.version))
        }
        Change::Policy { before, .. } => (keys.policy(), before.as_ref().map_or(0, |record| record.version)),
        Change::Log { before, .. } => (keys.regress(), before.as_ref().map_or(0, |record| record.version)),
    };
    words(["version", &key, &version.to_string()])
}

fn encode_guard(keys: &Keyspace, guard: &Guard) -> Words {
    match guard {
        Guard::SubmissionReady(id) => words(["present", &keys.submission(*id)]),
        Guard::ClassOffered(class) => words(["offered", &keys.policy(), class.as_str()]),
        Guard::JobAt { job, version } => words(["version", &keys.job(*job), &version.to_string()]),
        Guard::SlotsBelow { user, limit } => words(["fewer", &keys.user_active(user), &limit.to_string()]),
        Guard::SlotsFull { user, limit } => words(["no_fewer", &keys.user_active(user), &limit.to_string()]),
        Guard::RunningBelow { user, limit } => {
            words(["fewer_of_score", &keys.user_active(user), &RUNNING.to_string(), &limit.to_string()])
        }
        Guard::PendingBelow { user, limit } => {
            let [active, held, delayed] = [keys.user_active(user), keys.user_held(user), keys.user_delayed(user)];
            words(["fewer_pending", &active, &RUNNING.to_string(), &held, &delayed, &limit.to_string()])
        }
        Guard::NoneHeld(user) => words(["absent", &keys.user_held(user)]),
        Guard::AcceptedBelow { user, since, limit } => fewer_since(&keys.rate(user), *since, *limit),
        Guard::RefundedBelow { user, since, limit } => fewer_since(&keys.refunds(user), *since, *limit),
        Guard::UploadsBelow { user, since, limit } => fewer_since(&keys.uploads(user), *since, *limit),
        Guard::StoredAtMost { user, bytes } => words(["at_most", &keys.user_stored(user), BYTES, &bytes.to_string()]),
        Guard::WithoutJobs(id) => words(["absent", &keys.submission_jobs(*id)]),
        Guard::IdempotencyKeyUnused { user, key_sha256 } => words(["absent", &keys.idempotency(user, key_sha256)]),
        Guard::LeaseBeat { job, beat } => words(["beat", &job.to_string(), &beat.to_string()]),
    }
}

fn fewer_since(key: &str, since: Timestamp, limit: u64) -> Words {
    words(["fewer_since", key, &since.timestamp_millis().to_string(), &limit.to_string()])
}

fn stored(change: &Change) -> Vec<StoredEvent> {
    match change {
        Change::Job { id, events, .. } => events.iter().map(|event| StoredEvent::of_job(*id, event)).collect(),
        Change::Submission { id, events, .. } => {
            events.iter().map(|event| StoredEvent::of_submission(*id, event)).collect()
        }
        Change::Policy { event, .. } => vec![StoredEvent::of_policy(event)],
        Change::Log { event, .. } => vec![StoredEvent::of_log(event)],
    }
}

fn encode_event(event: StoredEvent) -> Words {
    let StoredEvent { kind, version, aggregate, seq, at, actor, trace, data } = event;
    let fields = [
        ("type", kind),
        (STORED_VERSION, version.to_string()),
        ("agg", aggregate),
        ("seq", seq.to_string()),
        ("at", at),
        ("actor", actor),
        ("trace", trace),
        ("data", data),
    ];
    fields.into_iter().flat_map(|(field, value)| [field.to_owned(), value]).collect()
}

/// The field of a log entry that holds the version of its payload's shape.
pub(crate) const STORED_VERSION: &str = "v";

/// The commands that make a patch.
pub(crate) fn encode_patch(patch: Patch) -> Vec<Words> {
    let command = match patch {
        Patch::SetFields { key, fields } => {
            let mut command = words(["HSET", &key]);
            command.extend(fields.into_iter().flat_map(|(field, value)| [field.to_owned(), value]));
            command
        }
        Patch::RemoveFields { key, fields } => {
            let mut command = words(["HDEL", &key]);
            command.extend(fields.into_iter().map(str::to_owned));
            command
        }
        // Which ids these are, only the commit knows.
        Patch::NoteEventIds { .. } => return vec![],
        Patch::NoteInWindow { key, member, at_ms } => return note_in_window(&key, &member, at_ms),
        Patch::AddBytes { key, bytes } => words(["HINCRBY", &key, BYTES, &bytes.to_string()]),
        Patch::AddMember { key, member, score: Some(score) } => words(["ZADD", &key, &score.to_string(), &member]),
        Patch::AddMember { key, member, score: None } => words(["SADD", &key, &member]),
        Patch::RemoveMember { key, member, kind: SetKind::Sorted } => words(["ZREM", &key, &member]),
        Patch::RemoveMember { key, member, kind: SetKind::Plain } => words(["SREM", &key, &member]),
        Patch::ExpireAt { key, at_ms } => words(["PEXPIREAT", &key, &at_ms.to_string()]),
        Patch::Rank { place, value } => {
            let mut command = words(["rank", &place.member, &score(value), &place.rising, &place.falling]);
            command.extend(board_words(place));
            command
        }
        Patch::Unrank { place } => {
            let mut command = words(["unrank", &place.member]);
            command.extend(board_words(place));
            command
        }
        Patch::Delete { key } => words(["DEL", &key]),
    };
    vec![command]
}

/// A place as the special changes of `commit.lua` take it.
fn board_words(place: Place) -> Words {
    let Place { standings, highest, lowest, boards, metric, user, member: _, rising: _, falling: _ } = place;
    [standings, highest, lowest, boards, metric, user].into()
}

/// Adds a member to a window, drops what was kept for long enough by then, and has the window vanish so long after its
/// newest member: `NX` sets an expiry where there is none, `GT` puts one off and never brings it forward.
fn note_in_window(key: &str, member: &str, at_ms: i64) -> Vec<Words> {
    let kept_ms = i64::try_from(WINDOW_KEPT.as_millis()).unwrap_or(i64::MAX);
    let expires_at = (at_ms + kept_ms).to_string();
    vec![
        words(["ZADD", key, &at_ms.to_string(), member]),
        words(["ZREMRANGEBYSCORE", key, "-inf", &(at_ms - kept_ms).to_string()]),
        words(["PEXPIREAT", key, &expires_at, "NX"]),
        words(["PEXPIREAT", key, &expires_at, "GT"]),
    ]
}

fn encode_work(keys: &Keyspace, work: &WorkChange) -> Words {
    match work {
        WorkChange::AddTicket { class, job } => words(["XADD", &keys.queue(class), "*", TICKET_JOB, &job.to_string()]),
        WorkChange::TakeLease { job, fence, ticket, worker, lease_ms } => {
            let (fence, worker, ticket) = (fence.clone(), worker.clone(), ticket.clone());
            let lease = Lease { fence, beat: 0, lease_ms: *lease_ms, worker, ticket };
            words(["HSET", &keys.leases(), &job.to_string(), &encode_lease(&lease)])
        }
        WorkChange::ReleaseLease { job } => words(["release", &job.to_string()]),
    }
}

/// The only field of a ticket: the id of its job.
pub(crate) const TICKET_JOB: &str = "job";

/// A lease as it is stored: the form that `commit.lua` and `heartbeat.lua` read too.
pub(crate) fn encode_lease(lease: &Lease) -> String {
    let Lease { fence, beat, lease_ms, worker, ticket: Ticket { class, id } } = lease;
    format!("{fence} {beat} {lease_ms} {worker} {class} {id}")
}

/// Reads a lease in the form of [`encode_lease`].
pub(crate) fn decode_lease(text: &str) -> Option<Lease> {
    let parts: Vec<&str> = text.split(' ').collect();
    let [fence, beat, lease_ms, worker, class, ticket] = parts[..] else {
        return None;
    };
    Some(Lease {
        fence: fence.parse().ok()?,
        beat: beat.parse().ok()?,
        lease_ms: lease_ms.parse().ok()?,
        worker: worker.parse().ok()?,
        ticket: Ticket { class: class.parse().ok()?, id: ticket.parse().ok()? },
    })
}
