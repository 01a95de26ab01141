//! Why the tracker has not got what it is to get: told for a while, of one job and of all.

use events::JobId;
use std::time::Duration;

use events::ports::{LeaderLease, NoteOf, TrackingNotesPort, WhyUntracked, WorkStatePort};

use super::Bench;

#[tokio::test]
async fn what_is_wrong_with_a_job_comes_before_what_is_wrong_with_the_tracker() {
    let bench = Bench::new().await;
    let [(job, _), (other, _)] = bench.running(2).await[..] else { panic!("two runs") };
    let port: &dyn TrackingNotesPort = &bench.redis;
    let why = async |job: JobId| port.why_untracked(job).await.expect("an answer");
    let wrong = |why: &str| WhyUntracked::Wrong(why.to_owned());
    assert_eq!(why(job).await, WhyUntracked::Nobody);
    let is_ours = bench.redis.take_leader_lease(LeaderLease::Tracking, "w-1", Duration::from_mins(1)).await;
    assert_eq!((is_ours, why(job).await), (Ok(true), WhyUntracked::InLine));
    port.note(NoteOf::Tracker, Some("it is down")).await.expect("noted");
    port.note(NoteOf::Job(job), Some("its files are \u{1F600} gone")).await.expect("noted");
    assert_eq!(why(job).await, wrong("its files are \u{1F600} gone"));
    assert_eq!(why(other).await, wrong("it is down"));
    for key in [bench.keys.tracking_note(job), bench.keys.tracker_note()] {
        let left: i64 = redis::cmd("PTTL").arg(key).query_async(&mut bench.raw().await).await.expect("a time to live");
        assert!((1..=120_000).contains(&left), "it vanishes by itself");
    }
    port.note(NoteOf::Job(job), None).await.expect("noted");
    assert_eq!(why(job).await, wrong("it is down"));
    port.note(NoteOf::Tracker, None).await.expect("noted");
    assert_eq!(why(job).await, WhyUntracked::InLine);
}
