//! What a change of the policy does to existing jobs and submissions. This is read before anything changes.
//!
//! Only three settings affect existing objects. A shorter retention or time to live expires them. No worker runs the
//! jobs that wait for a removed resource class. Lower limits hold back new jobs and end none.

use std::collections::BTreeMap;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use anyhow::{Result, anyhow, bail};
use events::execute::{self, ExecuteError, Origin};
use events::policy::{ClassSettings, Policy, PolicySettings};
use events::ports::{Ids, RecordsPort, WorkStatePort};
use events::{Actor, ClassName, JobCommand, JobId, JobState};

use crate::shared_policy;

/// How many records are read at a time.
const PAGE: usize = 500;
/// What expires within this time of the change counts as deleted by it.
const SOON: Duration = Duration::from_mins(5);
/// How often to search for jobs that were accepted while their class was removed.
const ROUNDS: usize = 20;

/// What a change of the policy does to jobs and submissions.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Jobs that ended longer ago than they would be kept, or would have within minutes.
    pub(crate) jobs: u64,
    /// Unused submissions of which the same is true.
    pub(crate) submissions: u64,
    /// The jobs that wait for a class that would be removed.
    pub(crate) waiting: BTreeMap<ClassName, Vec<JobId>>,
}

impl Effects {
    /// Reads what a change from one policy to another does.
    pub(crate) async fn of(redis: &Redis, before: &Policy, after: &Policy) -> Result<Self> {
        let removed = removed(before, after);
        Ok(Self {
            jobs: if after.retention < before.retention { expired_jobs(redis, after).await? } else { 0 },
            submissions: if after.submission_ttl < before.submission_ttl {
                expired_submissions(redis, after).await?
            } else {
                0
            },
            waiting: waiting(redis, &removed).await?,
        })
    }

    /// What would expire, as part of a sentence. `None` if nothing would.
    pub(crate) fn expiring(&self) -> Option<String> {
        let counted = |count: u64, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let jobs =
            counted(self.jobs, "finished job with its results and files", "finished jobs with their results and files");
        let submissions = counted(self.submissions, "unused submission", "unused submissions");
        let all: Vec<String> = jobs.into_iter().chain(submissions).collect();
        (!all.is_empty()).then(|| all.join(" and "))
    }

    /// How many jobs wait for classes that would be removed, by class. `None` if no job does.
    pub(crate) fn waiting(&self) -> Option<String> {
        let of_class = |(class, jobs): (&ClassName, &Vec<JobId>)| match jobs.len() {
            1 => format!("1 job waits for class {class}"),
            count => format!("{count} jobs wait for class {class}"),
        };
        let all: Vec<String> = self.waiting.iter().map(of_class).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

/// What to do with jobs that wait for a class that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Keep the class.
    Refuse,
    /// Cancel them.
    Cancel,
}

/// Changes the policy. Returns the new policy and the number of cancelled jobs.
///
/// From the commit of the change on, no job is accepted for a class that it removes. A job that came in just before it
/// brings the class back, unless such jobs are to be cancelled.
pub(crate) async fn apply(
    redis: &Redis,
    actor: &Actor,
    given: &PolicySettings,
    then: Waiting,
) -> Result<(PolicySettings, u64)> {
    let before = shared_policy::stored(redis).await?;
    let settings = shared_policy::set(redis, actor.clone(), given).await?;
    let removed = removed(&before.policy(), &settings.policy());
    let mut cancelled = 0;
    for _ in 0..ROUNDS {
        let waiting = waiting(redis, &removed).await?;
        if waiting.is_empty() {
            return Ok((settings, cancelled));
        }
        if then == Waiting::Refuse {
            let restored = PolicySettings { classes: Some(in_full(&before)), ..PolicySettings::default() };
            shared_policy::set(redis, actor.clone(), &restored).await?;
            let effects = Effects { waiting, ..Effects::default() };
            bail!("{}: {FORCE}", effects.waiting().unwrap_or_default());
        }
        for (class, jobs) in waiting {
            for job in jobs {
                cancelled += u64::from(withdraw(redis, actor, &settings.policy(), job, &class).await?);
            }
        }
    }
    Ok((settings, cancelled))
}

/// Stores the settings that delete or cancel nothing. Returns a sentence for each setting that it did not change.
pub(crate) async fn set_at_start(redis: &Redis, actor: Actor, given: &PolicySettings) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let mut given = given.clone();
    let before = shared_policy::stored(redis).await?;
    let after = given.clone().over(&before);
    let effects = Effects::of(redis, &before.policy(), &after.policy()).await?;
    if let Some(expiring) = effects.expiring() {
        left.push(format!(
            "RETENTION or SUBMISSION_TTL would delete {expiring}; neither is changed. `leadersboard policy set --yes` \
             changes them"
        ));
        (given.retention_ms, given.submission_ttl_ms) = (None, None);
    }
    if let Some(waiting) = effects.waiting() {
        left.push(format!(
            "RESOURCE_CLASSES removes classes that are in use ({waiting}); they stay. `leadersboard policy set --force` \
             removes them"
        ));
        let kept = in_full(&before).into_iter().filter(|class| effects.waiting.contains_key(&class.name));
        given.classes.as_mut().into_iter().for_each(|classes| classes.extend(kept.clone()));
    }
    let after = shared_policy::set(redis, actor, &given).await?.policy();
    let told = class_changes(&before.policy(), &after);
    if told.iter().any(|change| change.starts_with("removed")) {
        left.push(format!("RESOURCE_CLASSES replaces all classes ({})", told.join("; ")));
    }
    Ok(left)
}

/// What removes a class that jobs wait for.
pub(crate) const FORCE: &str = "wait until they have ended, or add --force to cancel them";

/// What a change does to the resource classes, such as `removed: medium`; empty if nothing.
pub(crate) fn class_changes(before: &Policy, after: &Policy) -> Vec<String> {
    let names = |names: Vec<&ClassName>| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let gone = removed(before, after);
    let added = after.classes.keys().filter(|name| before.class(name).is_none()).collect::<Vec<_>>();
    let is_other = |name: &&ClassName| before.class(name).is_some_and(|class| after.class(name) != Some(class));
    let changed = after.classes.keys().filter(is_other).collect::<Vec<_>>();
    let sets = [("removed", gone.iter().collect()), ("added", added), ("changed", changed)];
    let sets = sets.into_iter().filter(|(_, classes)| !classes.is_empty());
    let mut told: Vec<String> = sets.map(|(what, classes)| format!("{what}: {}", names(classes))).collect();
    if before.default_class != after.default_class {
        told.push(format!("default: {}, before {}", after.default_class, before.default_class));
    }
    told
}

fn removed(before: &Policy, after: &Policy) -> Vec<ClassName> {
    before.classes.keys().filter(|class| after.class(class).is_none()).cloned().collect()
}

/// The classes of a policy as they can be set, the default one first.
fn in_full(settings: &PolicySettings) -> Vec<ClassSettings> {
    settings.classes.clone().unwrap_or_else(|| {
        let policy = settings.policy();
        let class =
            |(name, class): (&ClassName, &events::ResourceClass)| ClassSettings::of(name.clone(), class.time_limit_s);
        let mut classes: Vec<ClassSettings> = policy.classes.iter().map(class).collect();
        classes.sort_by_key(|class| class.name != policy.default_class);
        classes
    })
}

async fn waiting(redis: &Redis, classes: &[ClassName]) -> Result<BTreeMap<ClassName, Vec<JobId>>> {
    let mut waiting: BTreeMap<ClassName, Vec<JobId>> = BTreeMap::new();
    if classes.is_empty() {
        return Ok(waiting);
    }
    let mut cursor = 0;
    loop {
        let page = redis.open_jobs(cursor).await?;
        let jobs = page.jobs.into_iter().filter(|job| matches!(job.state, JobState::Pending(_)));
        for job in jobs.filter(|job| classes.contains(&job.spec.class)) {
            let of_class = waiting.entry(job.spec.class).or_default();
            if !of_class.contains(&job.id) {
                of_class.push(job.id);
            }
        }
        cursor = page.next;
        if cursor == 0 {
            return Ok(waiting);
        }
    }
}

/// Whether the job still waited, and is cancelled now.
async fn withdraw(redis: &Redis, actor: &Actor, policy: &Policy, job: JobId, class: &ClassName) -> Result<bool> {
    let origin = Origin { actor: actor.clone(), trace: None };
    let command = JobCommand::Withdraw { reason: format!("resource class {class} was removed") };
    match execute::job(redis, policy, &origin, job, &command, SystemIds.jitter()).await {
        Ok(_) => Ok(true),
        // It was started or has ended meanwhile.
        Err(ExecuteError::Rejected(_)) => Ok(false),
        Err(error) => Err(anyhow!("{error}").context(format!("job {job} could not be cancelled"))),
    }
}

async fn expired_jobs(redis: &Redis, policy: &Policy) -> Result<u64> {
    let (mut count, mut after) = (0, None);
    let kept = policy.retention.saturating_sub(SOON);
    loop {
        let page = redis.old_jobs(kept, after, PAGE).await?;
        let is_over = |age: Option<Duration>| age.is_some_and(|age| age >= kept);
        let ages = page.jobs.iter().map(|job| (page.now - job.ended_at()?).to_std().ok());
        count += ages.filter(|age| is_over(*age)).count() as u64;
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

async fn expired_submissions(redis: &Redis, policy: &Policy) -> Result<u64> {
    let (mut count, mut after) = (0, None);
    let kept = policy.submission_ttl.saturating_sub(SOON);
    loop {
        let page = redis.old_submissions(kept, after, PAGE).await?;
        count += page.unused.len() as u64;
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_does_is_counted_in_words() {
        let expiring = |jobs, submissions| Effects { jobs, submissions, ..Effects::default() }.expiring();
        assert_eq!(expiring(0, 0), None);
        assert_eq!(expiring(1, 0).unwrap(), "1 finished job with its results and files");
        let both = "2 finished jobs with their results and files and 1 unused submission";
        assert_eq!(expiring(2, 1).unwrap(), both);
        assert_eq!(expiring(0, 3).unwrap(), "3 unused submissions");
    }

    #[test]
    fn waiting_jobs_are_counted_by_class() {
        let waiting = |classes: &[(&str, u128)]| {
            let jobs = |count| (0..count).map(|_| SystemIds.job()).collect();
            let waiting = classes.iter().map(|(class, count)| (class.parse().unwrap(), jobs(*count))).collect();
            Effects { waiting, ..Effects::default() }.waiting()
        };
        assert_eq!(waiting(&[]), None);
        let told = waiting(&[("large", 2), ("small", 1)]).unwrap();
        assert_eq!(told, "2 jobs wait for class large, 1 job waits for class small");
    }
}
