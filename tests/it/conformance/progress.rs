//! How far runs are and how their numbers go: told under the fence of a run that counts, kept for a while.

use adapters::ids::SystemIds;
use events::ports::{Curve, Ids, PortError, Progress, ProgressPort, ProgressReport, Shown, Stage, StageName};
use events::{Fence, JobCommand, JobId, LossCause};
use leadersboard_tests::invariants::Expect;

use super::{Bench, MemoryLimit};

fn far(fraction: f64, message: &str) -> ProgressReport {
    ProgressReport { progress: Some(Progress { fraction, message: message.to_owned() }), ..ProgressReport::default() }
}

fn numbers(curves: &[(&str, &[(f64, f64)])]) -> ProgressReport {
    let curves = curves.iter().map(|(name, points)| Curve { name: (*name).to_owned(), points: points.to_vec() });
    ProgressReport { curves: Some(curves.collect()), ..ProgressReport::default() }
}

impl Bench {
    async fn report(&self, (job, fence): &(JobId, Fence), report: &ProgressReport) -> Result<Shown, PortError> {
        let port: &dyn ProgressPort = &self.redis;
        port.report(*job, fence, report).await
    }

    async fn message(&self, (job, fence): &(JobId, Fence)) -> Option<String> {
        let stated = self.redis.progress(*job, fence).await.expect("an answer");
        stated.map(|stated| stated.progress.message)
    }

    async fn curve_names(&self, (job, fence): &(JobId, Fence)) -> Vec<String> {
        let curves = self.redis.curves(*job, fence).await.expect("an answer");
        curves.into_iter().map(|curve| curve.name).collect()
    }

    async fn lives_for_ms(&self, job: JobId) -> i64 {
        let mut look = redis::cmd("PTTL");
        look.arg(self.keys.progress(job)).query_async(&mut self.raw().await).await.expect("a time to live")
    }
}

#[tokio::test]
async fn what_is_told_is_read_and_what_is_not_told_anew_stays() {
    let bench = Bench::new().await;
    let [run, other] = &bench.running(2).await[..] else { panic!("two runs") };
    assert_eq!(bench.message(run).await, None);
    assert_eq!(bench.curve_names(run).await, [""; 0]);
    let message = "half: \u{1F600} \"quoted\"";
    assert_eq!(bench.report(run, &far(0.5, message)).await, Ok(Shown::Yes));
    let points: &[(f64, f64)] = &[(0.0, 5e-324), (0.5, -1e300), (1e15, 0.1)];
    assert_eq!(bench.report(run, &numbers(&[("a/b", points), ("c", &[])])).await, Ok(Shown::Yes));
    let first = bench.redis.progress(run.0, &run.1).await.expect("an answer").expect("it is known");
    assert_eq!(first.progress, Progress { fraction: 0.5, message: message.to_owned() });
    let curves = bench.redis.curves(run.0, &run.1).await.expect("an answer");
    assert_eq!(curves[0], Curve { name: "a/b".to_owned(), points: points.to_vec() });
    assert_eq!(curves.len(), 2);
    assert_eq!(bench.report(run, &far(0.5, message)).await, Ok(Shown::Yes));
    let again = bench.redis.progress(run.0, &run.1).await.expect("an answer").expect("it is known");
    assert_eq!(again.at, first.at, "since when it is so");
    assert_eq!(bench.report(run, &far(0.6, message)).await, Ok(Shown::Yes));
    let later = bench.redis.progress(run.0, &run.1).await.expect("an answer").expect("it is known");
    assert!(later.at > first.at);
    assert_eq!(bench.message(other).await, None);
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_report_of_a_run_that_does_not_count_is_refused() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    let stranger = (run.0, SystemIds.fence());
    assert_eq!(bench.report(&stranger, &far(0.9, "a stranger")).await, Ok(Shown::Refused));
    let nowhere = (SystemIds.job(), run.1.clone());
    assert_eq!(bench.report(&nowhere, &far(0.9, "of no job")).await, Ok(Shown::Refused));
    assert_eq!(bench.report(&run, &far(0.1, "told")).await, Ok(Shown::Yes));
    assert_eq!(bench.message(&stranger).await, None);
    let (fence, cause, error) = (run.1.clone(), LossCause::Drain, "the worker stops".to_owned());
    bench.command(run.0, &JobCommand::LoseLease { fence, cause, error }).await.expect("lost");
    assert_eq!(bench.report(&run, &far(0.2, "too late")).await, Ok(Shown::Refused));
    assert_eq!(bench.message(&run).await.as_deref(), Some("told"));
}

#[tokio::test]
async fn nothing_of_an_earlier_run_is_taken_for_a_later_ones() {
    let bench = Bench::new().await;
    let first = bench.running(1).await.remove(0);
    bench.report(&first, &far(0.9, "of the first")).await.expect("told");
    bench.report(&first, &numbers(&[("of the first", &[(1.0, 1.0)])])).await.expect("told");
    // As though the job ran again.
    let second = (first.0, SystemIds.fence());
    let mut put = redis::cmd("HSET");
    put.arg(bench.keys.job(first.0)).arg("fence").arg(second.1.as_str());
    let _: i64 = put.query_async(&mut bench.raw().await).await.expect("put");
    assert_eq!((bench.message(&second).await, bench.curve_names(&second).await), (None, vec![]));
    assert_eq!(bench.report(&second, &numbers(&[("of the second", &[])])).await, Ok(Shown::Yes));
    assert_eq!((bench.message(&second).await, bench.curve_names(&second).await), (None, vec!["of the second".into()]));
    assert_eq!((bench.message(&first).await, bench.curve_names(&first).await), (None, vec![]));
}

#[tokio::test]
async fn it_is_kept_after_the_end_and_not_for_ever() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    bench.report(&run, &far(1.0, "done")).await.expect("told");
    bench.complete(run.0, &run.1).await;
    assert_eq!(bench.report(&run, &far(0.0, "late")).await, Ok(Shown::Refused));
    assert_eq!(bench.message(&run).await.as_deref(), Some("done"));
    let left_ms = bench.lives_for_ms(run.0).await;
    assert!((1..=3_600_000).contains(&left_ms), "{left_ms} ms");
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn a_full_redis_keeps_its_last_room_for_what_counts() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    bench.limit_memory(MemoryLimit::Exceeded).await;
    let refused = bench.report(&run, &far(0.1, "not now")).await;
    assert!(matches!(refused, Err(PortError::Unavailable(_))), "{refused:?}");
    bench.limit_memory(MemoryLimit::None).await;
    assert_eq!(bench.report(&run, &far(0.1, "now")).await, Ok(Shown::Yes));
}

#[tokio::test]
async fn a_stage_lasts_from_its_first_report_and_is_its_runs_own() {
    let bench = Bench::new().await;
    let run = bench.running(1).await.remove(0);
    let at = |name, bytes_done: Option<u64>| {
        let reason = bytes_done.is_none().then(|| "its worker's disk is full".to_owned());
        Stage { name, bytes_done, bytes_total: bytes_done.map(|_| u64::MAX), reason }
    };
    let told = |stage| ProgressReport { stage: Some(stage), ..ProgressReport::default() };
    assert_eq!(bench.redis.stage(run.0, &run.1).await, Ok(None));
    assert_eq!(bench.report(&run, &far(0.5, "half")).await, Ok(Shown::Yes));
    let mut begun = Vec::new();
    for stage in [at(StageName::Running, None), at(StageName::Storing, Some(0)), at(StageName::Storing, Some(7))] {
        assert_eq!(bench.report(&run, &told(stage.clone())).await, Ok(Shown::Yes));
        let seen = bench.redis.stage(run.0, &run.1).await.expect("an answer").expect("it is known");
        assert_eq!(seen.stage, stage);
        begun.push(seen.since);
    }
    assert!(begun[0] < begun[1] && begun[1] == begun[2], "{begun:?}");
    assert_eq!(bench.message(&run).await.as_deref(), Some("half"));
    let stranger = (run.0, SystemIds.fence());
    assert_eq!(bench.report(&stranger, &told(at(StageName::Recording, None))).await, Ok(Shown::Refused));
    assert_eq!(bench.redis.stage(run.0, &stranger.1).await, Ok(None));
    // As though the job ran again.
    let mut put = redis::cmd("HSET");
    put.arg(bench.keys.job(run.0)).arg("fence").arg(stranger.1.as_str());
    let _: i64 = put.query_async(&mut bench.raw().await).await.expect("put");
    assert_eq!(bench.report(&stranger, &far(0.1, "again")).await, Ok(Shown::Yes));
    assert_eq!(bench.redis.stage(run.0, &stranger.1).await, Ok(None));
}
