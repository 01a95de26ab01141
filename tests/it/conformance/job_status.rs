//! Read models as clients ask for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use adapters::ids::SystemIds;
use events::job::ArtifactTotals;
use events::ports::{EventLogPort, Ids, JobQuery, JobQueuePort, JobStatusPort, QueuePosition, SubmissionQuery};
use events::{
    Change, Commit, Envelope, JobCommand, JobEvent, JobId, JobStatus, Lane, Results, SubmissionCommand, SubmissionId,
    UserId, execute,
};
use leadersboard_tests::invariants::Expect;
use tokio::task::JoinSet;

use super::{Bench, upload};

async fn listed(status: &dyn JobStatusPort, query: JobQuery) -> Vec<JobId> {
    let mut query = query;
    let mut found = Vec::new();
    loop {
        let page = status.jobs(&query).await.expect("a page");
        assert!(page.jobs.len() <= query.limit);
        found.extend(page.jobs.into_iter().map(|job| job.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return found;
        }
    }
}

async fn uploaded(status: &dyn JobStatusPort, user: Option<&str>, limit: usize) -> Vec<SubmissionId> {
    let user = user.map(|name| name.parse().expect("a name"));
    let mut query = SubmissionQuery { user, cursor: None, limit };
    let mut found = Vec::new();
    loop {
        let page = status.submissions(&query).await.expect("a page");
        assert!(page.submissions.len() <= query.limit);
        found.extend(page.submissions.into_iter().map(|submission| submission.id));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn submissions_come_newest_first_in_pages_without_gap_or_repeat() {
    let bench = Bench::new().await;
    let status: &dyn JobStatusPort = &bench.redis;
    let mut made = vec![bench.submission];
    for number in 1..40 {
        made.push(upload(&bench.redis, if number % 4 == 3 { "bob" } else { "alice" }).await);
    }
    made.reverse();
    for limit in [1, 7, 40, 200] {
        assert_eq!(uploaded(status, None, limit).await, made, "limit {limit}");
    }
    assert_eq!(uploaded(status, Some("bob"), 3).await.len(), 10);
    assert_eq!(uploaded(status, Some("carol"), 3).await, []);

    let expired = made.remove(5);
    execute::submission(&bench.redis, &bench.policy, &super::origin(), expired, &SubmissionCommand::Expire)
        .await
        .expect("expired");
    assert_eq!(uploaded(status, None, 7).await, made);
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn what_does_not_exist_is_none() {
    let bench = Bench::new().await;
    let status: &dyn JobStatusPort = &bench.redis;
    assert_eq!(status.job(SystemIds.job()).await, Ok(None));
    assert_eq!(status.results(SystemIds.job()).await, Ok(None));
    assert_eq!(status.submission(SystemIds.submission()).await, Ok(None));
    assert!(status.submission(bench.submission).await.expect("Redis").is_some());
    assert_eq!(status.ping().await, Ok(()));
}

#[tokio::test]
async fn jobs_come_newest_first_in_pages_without_gap_or_repeat() {
    let bench = Bench::new().await;
    let status: &dyn JobStatusPort = &bench.redis;
    let mut made = Vec::new();
    for number in 0..120 {
        let id = SystemIds.job();
        let user = if number % 3 == 0 { "bob" } else { "alice" };
        bench.command(id, &JobCommand::Enqueue(bench.spec(user, "small"))).await.expect("accepted");
        made.push(id);
    }
    made.reverse();
    let query = |user: Option<&str>, status, limit| JobQuery {
        user: user.map(|name| name.parse::<UserId>().expect("a name")),
        status,
        cursor: None,
        limit,
    };
    for limit in [1, 7, 50, 200] {
        let all = listed(status, query(None, None, limit)).await;
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 120, "limit {limit}: none twice, none left out");
        assert_eq!(all, made, "limit {limit}");
    }
    assert_eq!(listed(status, query(Some("bob"), None, 9)).await.len(), 40);
    assert_eq!(listed(status, query(Some("carol"), None, 9)).await, []);
    let cancel =
        JobCommand::RequestCancel { by: "bob".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    bench.command(made[5], &cancel).await.expect("cancelled");
    assert_eq!(listed(status, query(None, Some(JobStatus::Cancelled), 4)).await, [made[5]]);
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_position_counts_those_dispatched_before() {
    let bench = Bench::new().await;
    let status: &dyn JobStatusPort = &bench.redis;
    let (first, other) = (bench.enqueue("small").await, bench.enqueue("medium").await);
    let second = bench.enqueue("small").await;
    let ahead = async |ids: &[JobId]| {
        let mut jobs = Vec::new();
        for id in ids {
            jobs.push(status.job(*id).await.expect("Redis").expect("a job"));
        }
        let positions = status.positions(&jobs).await.expect("Redis");
        positions
            .into_iter()
            .map(|position| {
                position.map(|position| match position {
                    QueuePosition::Dispatched { ahead } | QueuePosition::Held { ahead, .. } => ahead,
                })
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ahead(&[second, first, other]).await, [Some(1), Some(0), Some(0)]);
    assert_eq!(ahead(&[]).await, []);
    let cancel =
        JobCommand::RequestCancel { by: "bob".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    bench.command(first, &cancel).await.expect("cancelled");
    assert_eq!(ahead(&[first, second]).await, [None, Some(0)]);
    assert_eq!(ahead(&[first]).await, [None]);
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn jobs_of_one_millisecond_come_in_pages_without_gap_or_repeat_too() {
    let bench = Bench::new().await;
    let status: &dyn JobStatusPort = &bench.redis;
    let log: &dyn EventLogPort = &bench.redis;
    let at = log.load_job(SystemIds.job()).await.expect("Redis's time").now;
    let mut made = Vec::new();
    let mut commits = JoinSet::new();
    for _ in 0..150 {
        let id = SystemIds.job();
        made.push(id);
        let event = JobEvent::Enqueued { spec: bench.spec("alice", "small"), dispatched: true };
        let events = vec![Envelope { seq: 1, at, actor: super::origin().actor, trace: None, event }];
        let change = Change::Job { id, before: None, events };
        let (redis, commit) =
            (bench.redis.clone(), Commit { change, next: None, guards: vec![], work: vec![], lane: Lane::Admission });
        commits.spawn(async move { redis.commit(commit).await.expect("accepted") });
    }
    commits.join_all().await;
    made.reverse();
    for limit in [1, 64, 100] {
        let query = JobQuery { user: None, status: None, cursor: None, limit };
        assert_eq!(listed(status, query).await, made, "limit {limit}");
    }
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_page_may_be_short_and_still_go_on() {
    let bench = Bench::new().await;
    let status: &dyn JobStatusPort = &bench.redis;
    let oldest = bench.enqueue("small").await;
    let mut accepted = JoinSet::new();
    for _ in 0..1_100 {
        let (redis, policy) = (bench.redis.clone(), Arc::clone(&bench.policy));
        let enqueue = JobCommand::Enqueue(bench.spec("bob", "small"));
        accepted.spawn(async move {
            execute::job(&redis, &policy, &super::origin(), SystemIds.job(), &enqueue, 1.0).await.expect("accepted")
        });
    }
    accepted.join_all().await;
    let by = "alice".parse().expect("a name");
    let cancel = JobCommand::RequestCancel { by, force: events::job::CancelMode::Graceful };
    bench.command(oldest, &cancel).await.expect("cancelled");
    let query = JobQuery { user: None, status: Some(JobStatus::Cancelled), cursor: None, limit: 5 };
    let page = status.jobs(&query).await.expect("a page");
    assert!(page.jobs.is_empty() && page.next.is_some(), "{page:?}");
    assert_eq!(listed(status, query).await, [oldest]);
    let user = Some("alice".parse().expect("a name"));
    let query = JobQuery { user, status: Some(JobStatus::Cancelled), cursor: None, limit: 5 };
    assert_eq!(status.jobs(&query).await.expect("a page").jobs.len(), 1, "a user's jobs are looked up alone");
}

#[tokio::test]
async fn results_are_there_with_the_end_and_not_before() {
    let bench = Bench::new().await;
    let (status, queue): (&dyn JobStatusPort, &dyn JobQueuePort) = (&bench.redis, &bench.redis);
    let job = bench.enqueue("small").await;
    let worker = super::consumer("w-1");
    let mut reader = queue.reader(&worker, &["small".parse().expect("a class")]).await.expect("a reader");
    let claims = reader.claim(1, std::time::Duration::from_secs(20)).await.expect("tickets");
    let fence = bench.start(&claims[0], &worker).await;
    assert_eq!(status.results(job).await, Ok(None));
    let running = status.job(job).await.expect("Redis").expect("a job");
    assert_eq!(running.status(), JobStatus::Running);
    assert_eq!(status.positions(&[running]).await, Ok(vec![None]));

    let metrics = br#"{"params": {"seed": 7, "name": "zo\u00eb"}, "metrics": {"auc": 0.1, "big": 1e300}}"#;
    let results = Results::from_metrics_json(metrics).expect("metrics");
    let artifacts = ArtifactTotals::default();
    let complete = JobCommand::Complete { fence, results: results.clone(), artifacts, tracked: None };
    bench.command(job, &complete).await.expect("completed");
    assert_eq!(status.results(job).await, Ok(Some(results.into())));
    assert_eq!(status.job(job).await.expect("Redis").map(|job| job.status()), Some(JobStatus::Completed));
    bench.check(Expect::AllEnded).await;
}
