//! Old records are found from the oldest on, and what is in use is never removed.

use std::time::Duration;

use adapters::ids::SystemIds;
use events::execute::{self, ExecuteError, JobExecutor};
use events::guard::Guard;
use events::job::Rejection;
use events::ports::{Ids, JobStatusPort, PageCursor, RecordsPort};
use events::{JobCommand, JobId, SubmissionCommand, SubmissionId};
use leadersboard_tests::invariants::Expect;

use super::{Bench, origin, upload};

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_hours(1);

async fn expire(bench: &Bench, id: SubmissionId) -> bool {
    execute::submission(&bench.redis, &bench.policy, &origin(), id, &SubmissionCommand::Expire).await.is_ok()
}

#[tokio::test]
async fn old_jobs_come_oldest_first_each_once() {
    let bench = Bench::new().await;
    let port: &dyn RecordsPort = &bench.redis;
    let mut jobs: Vec<JobId> = Vec::new();
    // Many of them within one millisecond.
    for _ in 0..10 {
        let ids: [JobId; 10] = std::array::from_fn(|_| SystemIds.job());
        let spec = JobCommand::Enqueue(bench.spec("alice", "small"));
        futures::future::join_all(ids.iter().map(|id| bench.command(*id, &spec))).await;
        jobs.extend(ids);
    }
    assert_eq!(port.old_jobs(HOUR, None, 10).await.expect("a page").jobs, [], "none is an hour old");
    for size in [1, 7, 100, 1_000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = port.old_jobs(NOW, after, size).await.expect("a page");
            assert!(page.jobs.len() <= size);
            found.extend(page.jobs.iter().map(|job| (job.created_at.timestamp_millis(), job.id)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(found.is_sorted(), "oldest first, by pages of {size}");
        let mut ids: Vec<JobId> = found.into_iter().map(|(_, id)| id).collect();
        ids.sort();
        jobs.sort();
        assert_eq!(ids, jobs, "by pages of {size}");
    }
    let far = PageCursor { created_ms: i64::MAX >> 16, id: SystemIds.job() };
    assert_eq!(port.old_jobs(NOW, Some(far), 10).await.expect("a page").jobs, []);
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn old_submissions_are_those_without_a_job_and_unknown_those_without_a_trace() {
    let bench = Bench::new().await;
    let port: &dyn RecordsPort = &bench.redis;
    let unused = upload(&bench.redis, "bob").await;
    bench.enqueue("small").await;
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = port.old_submissions(NOW, after, 1).await.expect("a page");
        found.extend(page.unused);
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [unused], "after {pages} pages");
    assert_eq!(port.old_submissions(HOUR, None, 10).await.expect("a page").unused, []);
    let stranger = SystemIds.submission();
    let all = [bench.submission, stranger, unused];
    assert_eq!(port.unknown(&all).await, Ok(vec![stranger]));
    assert_eq!(port.unknown(&[]).await, Ok(vec![]));
    assert!(expire(&bench, unused).await);
    assert_eq!(port.unknown(&all).await, Ok(vec![stranger, unused]));

    // Damage that a rebuild would mend is no reason to think that there is nothing.
    let key = bench.keys.submission(bench.submission);
    let hidden = format!("{key}:hidden");
    let rename = async |from: &str, to: &str| {
        let mut rename = redis::cmd("RENAME");
        let _: () = rename.arg(from).arg(to).query_async(&mut bench.raw().await).await.expect("renamed");
    };
    rename(&key, &hidden).await;
    assert_eq!(port.unknown(&[bench.submission]).await, Ok(vec![]));
    rename(&hidden, &key).await;
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn of_a_new_job_and_the_end_of_its_submission_only_one_happens() {
    let bench = Bench::new().await;
    let (mut jobs, mut ends) = (0, 0);
    for _ in 0..200 {
        let submission = upload(&bench.redis, "alice").await;
        let spec = events::JobSpec { submission, ..bench.spec("alice", "small") };
        let (id, enqueue) = (SystemIds.job(), JobCommand::Enqueue(spec));
        let (enqueued, expired) = tokio::join!(bench.command(id, &enqueue), expire(&bench, submission));
        let is_there = bench.redis.submission(submission).await.expect("Redis").is_some();
        match enqueued {
            Ok(_) => jobs += 1,
            Err(ExecuteError::Rejected(Rejection::SubmissionGone(_))) => ends += 1,
            Err(error) => panic!("{error}"),
        }
        let has_job = bench.redis.job(id).await.expect("Redis").is_some();
        assert_eq!((is_there, has_job), (!expired, !expired));
    }
    assert_eq!(jobs + ends, 200);
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_not_removed() {
    let bench = Bench::new().await;
    let id = bench.enqueue("small").await;
    let cancel =
        JobCommand::RequestCancel { by: "alice".parse().expect("a name"), force: events::job::CancelMode::Graceful };
    let ended = bench.command(id, &cancel).await.expect("cancelled").expect("a job");
    let expire = async |version| {
        let seen = Guard::JobAt { job: id, version };
        let expire = JobCommand::Expire;
        let (log, policy, origin) = (&bench.redis, &bench.policy, &origin());
        JobExecutor { log, policy, origin, jitter: 1.0, seen: Some(&seen) }.execute(id, &expire).await
    };
    assert!(matches!(expire(ended.version - 1).await, Err(ExecuteError::GuardFailed(_))));
    assert_eq!(expire(ended.version).await.expect("it is as it was seen"), None);
    bench.check(Expect::AllEnded).await;
}
