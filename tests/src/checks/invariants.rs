//! What must hold of every Redis that `LeadersBoard` has worked on, read from the log itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::log::stored::{Recorded, StoredEvent};
use events::ranking::ranked;
use events::{
    Job, JobEvent, JobId, JobState, Order, Policy, Standing, Submission, SubmissionId, job, policy, submission,
};
use projections::fields::{BYTES, EVENT_IDS};
use projections::keys::ReadModel;
use projections::{Keyspace, View};
use redis::aio::MultiplexedConnection;
use redis::streams::StreamRangeReply;

use super::slots::{self, SlotWatch};
use crate::redis_server::connect;

/// Whether jobs may still be waiting or running when the invariants are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Every accepted job has ended.
    AllEnded,
    /// The same, and while it went on the clock was set and Redis was away: how long things took can't be told.
    AllEndedWhateverTheClock,
    /// Some may be open.
    SomeOpen,
}

/// The log, folded.
#[derive(Debug, Default)]
pub struct Folded {
    /// Every job that the log tells of and that was not expired.
    pub jobs: BTreeMap<JobId, Job>,
    /// Every submission, likewise.
    pub submissions: BTreeMap<SubmissionId, Submission>,
    /// The types of each job's events in their order.
    pub stories: BTreeMap<JobId, Vec<&'static str>>,
    /// The policy as it was set last.
    pub policy: Policy,
    /// What every job that completed reached, by metric, of those that were expired too.
    reached: BTreeMap<String, Vec<Standing>>,
    ids: HashMap<String, Vec<String>>,
    slots: SlotWatch,
}

/// Checks everything, and gives the folded log.
///
/// # Panics
/// If something does not hold; the message says what.
pub async fn check(url: &str, keys: &Keyspace, expect: Expect) -> Folded {
    let redis = &mut connect(url).await;
    let folded = fold(redis, keys).await;
    check_ends(&folded, expect);
    if expect != Expect::AllEndedWhateverTheClock {
        folded.slots.assert_none_idle();
    }
    slots::check(redis, keys, &folded.policy, folded.jobs.values()).await;
    check_read_models(redis, keys, &folded).await;
    check_work_state(redis, keys, &folded).await;
    check_lifetimes(redis, keys).await;
    check_by_the_systems_own_word(url, keys).await;
    folded
}

async fn fold(redis: &mut MultiplexedConnection, keys: &Keyspace) -> Folded {
    let log: StreamRangeReply =
        redis::cmd("XRANGE").arg(keys.events()).arg("-").arg("+").query_async(redis).await.expect("the log");
    let mut folded = Folded::default();
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut fences = BTreeSet::new();
    for entry in log.ids {
        let text = |field: &str| entry.get::<String>(field).unwrap_or_else(|| panic!("{field} of {}", entry.id));
        let stored = StoredEvent {
            kind: text("type"),
            version: text("v").parse().expect("a version"),
            aggregate: text("agg"),
            seq: text("seq").parse().expect("a seq"),
            at: text("at"),
            actor: text("actor"),
            trace: text("trace"),
            data: text("data"),
        };
        let version = versions.entry(stored.aggregate.clone()).or_default();
        *version += 1;
        assert_eq!(stored.seq, *version, "the versions of {} have a gap", stored.aggregate);
        folded.ids.entry(stored.aggregate.clone()).or_default().push(entry.id.clone());
        match stored.read().expect("every entry can be read") {
            Recorded::Job(id, envelope) => {
                if let JobEvent::Started { fence, .. } = &envelope.event {
                    assert!(fences.insert(fence.to_string()), "a fence was used twice, by job {id}");
                }
                let before = folded.jobs.remove(&id);
                assert_after_end(id, before.as_ref(), &envelope.event);
                folded.stories.entry(id).or_default().push(envelope.event.kind());
                let after = job::evolve(id, before.clone(), &envelope);
                folded.slots.saw(before.as_ref(), after.as_ref(), &entry.id, &folded.policy);
                if let (JobEvent::Completed { results, .. }, Some(job)) = (&envelope.event, &after) {
                    for (metric, value) in ranked(&results.metrics) {
                        let standing =
                            Standing { user: job.spec.user.clone(), value, completed_at: envelope.at, job: id };
                        folded.reached.entry(metric).or_default().push(standing);
                    }
                }
                folded.jobs.extend(after.map(|job| (id, job)));
            }
            Recorded::Submission(id, envelope) => {
                let before = folded.submissions.remove(&id);
                let after = submission::evolve(id, before, &envelope);
                folded.submissions.extend(after.map(|submission| (id, submission)));
            }
            Recorded::Policy(envelope) => folded.policy = policy::evolve(&envelope).settings.policy(),
            Recorded::Log(_) => {}
        }
    }
    folded
}

fn assert_after_end(id: JobId, before: Option<&Job>, event: &JobEvent) {
    let ended = before.is_some_and(Job::is_terminal);
    let allowed = matches!(event, JobEvent::Replayed { .. } | JobEvent::Tracked { .. } | JobEvent::Expired {});
    assert!(!ended || allowed, "{} came to job {id} after its end", event.kind());
}

fn check_ends(folded: &Folded, expect: Expect) {
    let open: Vec<_> = folded.jobs.values().filter(|job| !job.is_terminal()).collect();
    assert!(expect == Expect::SomeOpen || open.is_empty(), "jobs are still open: {open:?}");
}

async fn check_read_models(redis: &mut MultiplexedConnection, keys: &Keyspace, folded: &Folded) {
    let jobs = folded.jobs.values().map(|job| (format!("job:{}", job.id), projections::job::view(keys, job)));
    let submissions = folded
        .submissions
        .values()
        .map(|submission| (format!("submission:{}", submission.id), projections::submission::view(keys, submission)));
    let mut sets: BTreeMap<String, BTreeMap<String, Option<i64>>> = BTreeMap::new();
    let mut windows: BTreeMap<String, BTreeMap<String, Option<i64>>> = BTreeMap::new();
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let mut boards: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (aggregate, view) in jobs.chain(submissions) {
        check_hash(redis, &view, &folded.ids[&aggregate]).await;
        for (key, score) in view.memberships {
            sets.entry(key).or_default().insert(view.member.clone(), score);
        }
        for (key, at_ms) in view.windows {
            windows.entry(key).or_default().insert(view.member.clone(), Some(at_ms));
        }
        for (key, (place, value)) in view.places {
            let bests = [(&place.highest, f64::max as fn(f64, f64) -> f64), (&place.lowest, f64::min)];
            for (best, better) in bests {
                let found = boards.entry(best.clone()).or_default().entry(place.user.clone()).or_insert(value);
                *found = better(*found, value);
            }
            boards.entry(key).or_default().insert(place.member, value);
            users.entry(place.metric).or_default().insert(place.user);
        }
        for (key, bytes) in view.totals {
            *totals.entry(key).or_default() += bytes;
        }
    }
    boards.extend(records(keys, &folded.reached));
    let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(redis).await.expect("the time");
    if !users.is_empty() {
        boards.insert(keys.boards(), users.into_iter().map(|(metric, users)| (metric, users.len() as f64)).collect());
    }
    let in_hour = |_: &String, at_ms: &mut Option<i64>| at_ms.is_some_and(|at| at > (seconds - 3_599) * 1_000);
    for window in windows.values_mut() {
        window.retain(in_hour);
    }
    windows.retain(|_, window| !window.is_empty());
    for key in all_keys(redis).await {
        match keys.read_model(&key) {
            Some(ReadModel::Index(_)) => {
                let wanted = sets.remove(&key).unwrap_or_default();
                assert_eq!(read_set(redis, &key).await, wanted, "{key} is not what the log folds to");
            }
            Some(ReadModel::Window) => {
                let wanted = windows.remove(&key).unwrap_or_default();
                let mut found = read_set(redis, &key).await;
                found.retain(in_hour);
                assert_eq!(found, wanted, "{key} is not what the log folds to");
            }
            Some(ReadModel::Stored) => {
                let found: u64 = redis::cmd("HGET").arg(&key).arg(BYTES).query_async(redis).await.expect("a total");
                assert_eq!(found, totals.remove(&key).unwrap_or_default(), "{key} is not what the log folds to");
            }
            Some(ReadModel::Standings | ReadModel::Best | ReadModel::Records | ReadModel::Boards) => {
                let wanted = boards.remove(&key).unwrap_or_default();
                assert_eq!(read_scores(redis, &key).await, wanted, "{key} is not what the log folds to");
            }
            Some(ReadModel::Hash(_) | ReadModel::Results(_)) | None => {}
        }
    }
    assert!(sets.is_empty() && windows.is_empty(), "missing: {sets:?} {windows:?}");
    assert!(boards.is_empty(), "missing: {boards:?}");
    assert!(totals.is_empty(), "missing: {totals:?}");
}

/// The keys of the records of every metric, and what they hold.
fn records(keys: &Keyspace, reached: &BTreeMap<String, Vec<Standing>>) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut wanted: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for (metric, standings) in reached {
        let mut standings: Vec<&Standing> = standings.iter().collect();
        standings.sort_by_key(|standing| (standing.completed_at, standing.job));
        for order in [Order::Asc, Order::Desc] {
            let mut best = None;
            for standing in &standings {
                if best.is_none_or(|best| order.is_better(standing.value, best)) {
                    best = Some(standing.value);
                    let of_metric = wanted.entry(keys.records(metric, order)).or_default();
                    of_metric.insert(projections::records::store(standing), standing.value);
                }
            }
        }
    }
    wanted
}

async fn check_hash(redis: &mut MultiplexedConnection, view: &View, ids: &[String]) {
    let mut hash: HashMap<String, String> =
        redis::cmd("HGETALL").arg(&view.key).query_async(redis).await.expect("a hash");
    assert_eq!(hash.remove(EVENT_IDS).as_deref(), Some(ids.join(" ").as_str()), "the events of {}", view.key);
    let wanted: HashMap<String, String> =
        view.fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect();
    assert_eq!(hash, wanted, "{} is not what the log folds to", view.key);
    let expiry: i64 = redis::cmd("PEXPIRETIME").arg(&view.key).query_async(redis).await.expect("an expiry");
    assert_eq!(expiry, -1, "the expiry of {}", view.key);
}

async fn read_set(redis: &mut MultiplexedConnection, key: &str) -> BTreeMap<String, Option<i64>> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(redis).await.expect("a type");
    if kind == "set" {
        let members: Vec<String> = redis::cmd("SMEMBERS").arg(key).query_async(redis).await.expect("a set");
        return members.into_iter().map(|member| (member, None)).collect();
    }
    let members: Vec<(String, String)> =
        redis::cmd("ZRANGE").arg(key).arg(&["0", "-1", "WITHSCORES"]).query_async(redis).await.expect("a sorted set");
    members.into_iter().map(|(member, score)| (member, score.parse().ok())).collect()
}

async fn read_scores(redis: &mut MultiplexedConnection, key: &str) -> BTreeMap<String, f64> {
    let members: Vec<(String, f64)> =
        redis::cmd("ZRANGE").arg(key).arg(&["0", "-1", "WITHSCORES"]).query_async(redis).await.expect("a sorted set");
    members.into_iter().collect()
}

/// The leases and the pending lists are those of the running jobs.
async fn check_work_state(redis: &mut MultiplexedConnection, keys: &Keyspace, folded: &Folded) {
    let running: BTreeSet<String> = folded
        .jobs
        .values()
        .filter(|job| matches!(job.state, JobState::Running))
        .map(|job| job.id.to_string())
        .collect();
    let leases: Vec<String> = redis::cmd("HKEYS").arg(keys.leases()).query_async(redis).await.expect("the leases");
    assert_eq!(leases.into_iter().collect::<BTreeSet<_>>(), running, "the leases are not those of the running jobs");
    let mut claimed = 0;
    for key in all_keys(redis).await.into_iter().filter(|key| key.starts_with(&keys.queue_prefix())) {
        let (count, ..): (usize, redis::Value, redis::Value, redis::Value) = redis::cmd("XPENDING")
            .arg(&key)
            .arg("workers")
            .query_async(redis)
            .await
            .unwrap_or((0, redis::Value::Nil, redis::Value::Nil, redis::Value::Nil));
        claimed += count;
    }
    assert_eq!(claimed, running.len(), "tickets are pending that no running job holds");
}

/// Every key vanishes by itself or is one of those that may stay.
async fn check_lifetimes(redis: &mut MultiplexedConnection, keys: &Keyspace) {
    for key in all_keys(redis).await {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(redis).await.expect("a time to live");
        // Or it has vanished since the keys were listed.
        assert!(left >= 0 || left == -2 || keys.is_permanent(&key), "{key} would stay for ever");
    }
}

/// `leadersboard projections verify` finds nothing either.
async fn check_by_the_systems_own_word(url: &str, keys: &Keyspace) {
    let system = adapters::redis::Redis::connect(url, keys.clone()).await.expect("Redis");
    let report = system.audit(adapters::redis::audit::Mode::Verify, |_| {}).await.expect("an audit");
    assert_eq!(report.first, [], "projections verify");
}

async fn all_keys(redis: &mut MultiplexedConnection) -> Vec<String> {
    redis::cmd("KEYS").arg("*").query_async(redis).await.expect("the keys of a test's own Redis")
}
