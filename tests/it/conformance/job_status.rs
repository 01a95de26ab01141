//! Read models as clients ask for them.

use std::collections::BTreeSet;

use adapters::ids::SystemIds;
use events::ports::{Ids, JobQuery, JobStatusPort};
use events::{JobCommand, JobId, JobStatus, UserId};
use leadersboard_tests::invariants::Expect;

use super::Bench;

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
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let second = bench.enqueue("small").await;
    let ahead = async |id: JobId| {
        let job = status.job(id).await.expect("Redis").expect("a job");
        status.position(&job).await.expect("Redis").map(|position| position.ahead)
    };
    assert_eq!((ahead(first).await, ahead(second).await, ahead(other).await), (Some(0), Some(1), Some(0)));
    let cancel =
        JobCommand::RequestCancel { by: "bob".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    bench.command(first, &cancel).await.expect("cancelled");
    assert_eq!((ahead(first).await, ahead(second).await), (None, Some(0)));
}
