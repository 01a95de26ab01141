//! Read models against the log: what differs is told, and restored, beside a system that goes on.

use adapters::ids::SystemIds;
use adapters::redis::audit::{AuditReport, Mode};
use events::ports::Ids;
use events::{JobCommand, JobId};
use leadersboard_tests::invariants::Expect;
use redis::aio::MultiplexedConnection;

use super::Bench;

async fn audit(bench: &Bench, mode: Mode) -> AuditReport {
    bench.redis.audit(mode, |_| {}).await.expect("an audit")
}

async fn run(raw: &mut MultiplexedConnection, command: &[&str]) {
    let _: redis::Value = redis::cmd(command[0]).arg(&command[1..]).query_async(raw).await.expect("it runs");
}

/// A board with a job in every state that has a read model of its own.
async fn board(bench: &Bench) -> Vec<JobId> {
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(bench.enqueue("small").await);
    }
    let queue: &dyn events::ports::JobQueuePort = &bench.redis;
    let worker = super::consumer("w-1");
    let mut reader = queue.reader(&worker, &["small".parse().expect("a class")]).await.expect("a reader");
    for claim in reader.claim(3, std::time::Duration::from_secs(20)).await.expect("tickets") {
        let fence = bench.start(&claim, &worker).await;
        if claim.job == jobs[0] {
            bench.complete(claim.job, &fence).await;
        } else if claim.job == jobs[1] {
            let lose = JobCommand::LoseLease {
                fence,
                cause: events::LossCause::WorkerLost,
                error: "worker w-1 fell silent".to_owned(),
            };
            bench.command(claim.job, &lose).await.expect("delayed");
        }
    }
    jobs
}

#[tokio::test]
async fn what_was_written_by_commits_is_what_the_log_folds_to() {
    let bench = Bench::new().await;
    board(&bench).await;
    let report = audit(&bench, Mode::Verify).await;
    assert_eq!((report.differences, report.aggregates), (0, 6), "{report:?}");
    assert_eq!(report.events, 12);
}

#[tokio::test]
async fn every_kind_of_damage_is_told_and_restored() {
    let bench = Bench::new().await;
    let jobs = board(&bench).await;
    let mut raw = bench.raw().await;
    let keys = &bench.keys;
    let stranger = SystemIds.job();
    let user = "alice".parse().expect("a name");
    let (first, stray) = (jobs[0].to_string(), stranger.to_string());
    let nowhere = format!("{:016x}-{first}", 1);
    let mut member: Vec<String> = redis::cmd("ZRANGE")
        .arg(&[&keys.standings("auc", &user), "0", "0"])
        .query_async(&mut raw)
        .await
        .expect("a place on a board");
    let place = member.pop().expect("a job has a metric");
    let now_ms = bench.redis.now().await.expect("the time").timestamp_millis().to_string();
    let damages: Vec<(&str, Vec<String>)> = vec![
        ("a field is wrong", vec!["HSET".into(), keys.job(jobs[2]), "state".into(), "held".into()]),
        ("a field is missing", vec!["HDEL".into(), keys.job(jobs[2]), "fence".into()]),
        ("a field is too much", vec!["HSET".into(), keys.job(jobs[3]), "extra".into(), "1".into()]),
        ("a hash is gone", vec!["DEL".into(), keys.job(jobs[1])]),
        ("a hash is no hash", vec!["SET".into(), keys.job(jobs[3]), "x".into()]),
        ("an expiry is there", vec!["EXPIRE".into(), keys.job(jobs[0]), "1000".into()]),
        ("results are gone", vec!["DEL".into(), keys.result(jobs[0])]),
        ("a member is missing", vec!["SREM".into(), keys.open(), jobs[3].to_string()]),
        ("a score is wrong", vec!["ZADD".into(), keys.delayed(), "1".into(), jobs[1].to_string()]),
        ("a member is too much", vec!["ZADD".into(), keys.dead_letters(), "1".into(), first]),
        ("an index is gone", vec!["DEL".into(), keys.user_jobs(&user)]),
        ("an index is no index", vec!["SET".into(), keys.open(), "x".into()]),
        ("an index of nothing is no index", vec!["SET".into(), keys.dead_letters(), "x".into()]),
        (
            "a set of nothing is no set",
            vec!["ZADD".into(), keys.submission_jobs(SystemIds.submission()), "1".into(), "x".into()],
        ),
        (
            "an hour of nothing is no hour",
            vec!["SET".into(), keys.refunds(&"carol".parse().expect("a name")), "x".into()],
        ),
        (
            "a line of nothing is no line",
            vec!["SET".into(), keys.user_held(&"carol".parse().expect("a name")), "x".into()],
        ),
        ("a board of nothing is no board", vec!["SET".into(), keys.highest("other"), "x".into()]),
        (
            "records of nothing are no records",
            vec!["SET".into(), keys.records("other", events::Order::Asc), "x".into()],
        ),
        (
            "a total of nothing is no total",
            vec!["SET".into(), keys.user_stored(&"carol".parse().expect("a name")), "x".into()],
        ),
        ("the boards are no boards", vec!["SET".into(), keys.boards(), "x".into()]),
        ("a total is wrong", vec!["HINCRBY".into(), keys.user_stored(&user), "bytes".into(), "7".into()]),
        ("a total is gone", vec!["DEL".into(), keys.user_stored(&user)]),
        ("a place in the hour is missing", vec!["ZREM".into(), keys.rate(&user), jobs[2].to_string()]),
        ("a place in the hour is too much", vec!["ZADD".into(), keys.refunds(&user), now_ms, jobs[2].to_string()]),
        ("an upload is missing", vec!["DEL".into(), keys.uploads(&user)]),
        ("a slot is missing", vec!["DEL".into(), keys.user_active(&user)]),
        ("a slot is another's", vec!["ZADD".into(), keys.user_active(&user), "0".into(), jobs[0].to_string()]),
        ("a job of a submission is missing", vec!["DEL".into(), keys.submission_jobs(bench.submission)]),
        ("a place on a board is missing", vec!["DEL".into(), keys.standings("auc", &user)]),
        ("a place on a board is another", vec!["ZADD".into(), keys.standings("auc", &user), "0.6".into(), place]),
        ("a stranger is on a board", vec!["ZADD".into(), keys.standings("auc", &user), "9".into(), nowhere]),
        ("a board is of a stranger", vec!["ZADD".into(), keys.highest("auc"), "9".into(), "bob".into()]),
        ("a board has nobody", vec!["DEL".into(), keys.highest("auc")]),
        ("a board is no board", vec!["SET".into(), keys.lowest("auc"), "x".into()]),
        ("a best is wrong", vec!["ZADD".into(), keys.lowest("auc"), "0.1".into(), "alice".into()]),
        ("the boards are gone", vec!["DEL".into(), keys.boards()]),
        ("a board that is not there is listed", vec!["ZADD".into(), keys.boards(), "1".into(), "other".into()]),
        ("nobody's job", vec!["HSET".into(), keys.job(stranger), "v".into(), "1".into()]),
        ("nobody's member", vec!["ZADD".into(), keys.jobs(), "1".into(), stray.clone()]),
        ("a submission is not listed", vec!["ZREM".into(), keys.submissions(), bench.submission.to_string()]),
        ("a user's submissions are not listed", vec!["DEL".into(), keys.user_submissions(&user)]),
        ("nobody's submission", vec!["ZADD".into(), keys.submissions(), "1".into(), stray.clone()]),
        ("nobody's submission of a user's", vec!["ZADD".into(), keys.user_submissions(&user), "1".into(), stray]),
    ];
    for (what, damage) in damages {
        if damage[0] == "SET" {
            run(&mut raw, &["DEL", &damage[1]]).await;
        }
        run(&mut raw, &damage.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let told = audit(&bench, Mode::Verify).await;
        assert!(told.differences > 0, "{what} is not seen");
        assert_eq!(audit(&bench, Mode::Verify).await, told, "{what}: looking changes nothing");
        let restored = audit(&bench, Mode::Rebuild).await;
        assert_eq!(restored.differences, told.differences, "{what}: {told:?} {restored:?}");
        let after = audit(&bench, Mode::Verify).await;
        assert_eq!(after.differences, 0, "{what}: {after:?}");
    }
    bench.check(Expect::SomeOpen).await;
}

/// Damages of what sums and bests follow from. Only the damaged key is told, and what it should be by the log.
#[tokio::test]
async fn sums_and_bests_are_told_by_the_log_and_not_by_damaged_records() {
    let bench = Bench::new().await;
    board(&bench).await;
    let (keys, mut raw) = (&bench.keys, bench.raw().await);
    let user = "alice".parse().expect("a name");
    let stored: String =
        redis::cmd("HGET").arg(&[&keys.user_stored(&user), "bytes"]).query_async(&mut raw).await.expect("a total");
    let (id, record) = (bench.submission.to_string(), keys.submission(bench.submission));
    let total = keys.user_stored(&user);
    let (one, other) = ([record.clone()], [record.clone(), total.clone()]);
    let damages: Vec<(&[String], Vec<Vec<&str>>)> = vec![
        (&one, vec![vec!["DEL", &record]]),
        (&one, vec![vec!["HSET", &record, "bytes", "7"]]),
        (&other, vec![vec!["DEL", &record], vec!["DEL", &total]]),
        (&other, vec![vec!["HDEL", &record, "bytes"], vec!["HSET", &total, "bytes", "0"]]),
    ];
    let index = keys.user_submissions(&user);
    let stray = keys.user_submissions(&"bob".parse().expect("a name"));
    let (standings, highest, lowest) = (keys.standings("auc", &user), keys.highest("auc"), keys.lowest("auc"));
    let only: [[String; 1]; 6] = [&index, &stray, &total, &standings, &highest, &lowest].map(|key| [key.clone()]);
    let more: Vec<(&[String], Vec<Vec<&str>>)> = vec![
        (&only[0], vec![vec!["ZREM", &index, &id]]),
        (&only[1], vec![vec!["ZADD", &stray, "1", &id]]),
        (&only[2], vec![vec!["HINCRBY", &total, "bytes", "7"]]),
        (&only[2], vec![vec!["DEL", &total]]),
        (&only[3], vec![vec!["DEL", &standings]]),
        (&only[4], vec![vec!["DEL", &highest]]),
        (&only[5], vec![vec!["ZADD", &lowest, "0.1", "alice"]]),
    ];
    for (wanted, damage) in damages.into_iter().chain(more) {
        for command in &damage {
            run(&mut raw, command).await;
        }
        for mode in [Mode::Verify, Mode::Rebuild] {
            let report = audit(&bench, mode).await;
            let told: Vec<&String> = report.first.iter().map(|it| &it.key).collect();
            assert_eq!(told, wanted.iter().collect::<Vec<_>>(), "{damage:?} {mode:?}: {report:?}");
            assert_eq!(report.differences, wanted.len() as u64);
            let sum = report.first.iter().find(|it| it.key == total);
            assert!(sum.is_none_or(|it| it.wanted == stored), "{damage:?} {mode:?}: {report:?}");
        }
    }
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_key_of_another_type_refuses_a_completion_whole_and_is_named_until_it_is_restored() {
    let bench = Bench::new().await;
    let (keys, mut raw) = (&bench.keys, bench.raw().await);
    let job = bench.enqueue("small").await;
    let (queue, worker): (&dyn events::ports::JobQueuePort, _) = (&bench.redis, super::consumer("w-1"));
    let mut reader = queue.reader(&worker, &["small".parse().expect("a class")]).await.expect("a reader");
    let claim = reader.claim(1, std::time::Duration::from_secs(20)).await.expect("a ticket").remove(0);
    let fence = bench.start(&claim, &worker).await;
    let reader_of_log = bench.raw().await;
    let length = async || {
        let length = redis::cmd("XLEN").arg(keys.events()).query_async::<u64>(&mut reader_of_log.clone()).await;
        length.expect("a length")
    };
    let before = length().await;
    for key in [keys.boards(), keys.highest("auc"), keys.records("auc", events::Order::Asc)] {
        run(&mut raw, &["SET", &key, "x"]).await;
        let refused = bench.try_to_complete(job, &fence).await;
        let Err(events::execute::ExecuteError::Defect(why)) = refused else { panic!("{key}: {refused:?}") };
        assert!(why.to_string().contains(&key) && why.to_string().contains("doctor --repair"), "{why}");
        assert_eq!(length().await, before, "{key}: nothing was written");
        assert!(audit(&bench, Mode::Rebuild).await.differences > 0, "{key}");
    }
    run(&mut raw, &["SET", &keys.submissions(), "x"]).await;
    let records: &dyn events::ports::RecordsPort = &bench.redis;
    let alone = records.old_submissions(std::time::Duration::ZERO, None, 5).await.map(drop);
    let among_others = records.unknown(&[SystemIds.submission()]).await.map(drop);
    for refused in [alone, among_others] {
        let Err(events::ports::PortError::Corrupt(why)) = refused else { panic!("{refused:?}") };
        assert!(why.to_string().contains(&keys.submissions()) && why.to_string().contains("doctor --repair"), "{why}");
    }
    audit(&bench, Mode::Rebuild).await;
    bench.complete(job, &fence).await;
    bench.check(Expect::AllEnded).await;
}

#[tokio::test]
async fn all_read_models_come_back_from_the_log_alone() {
    let bench = Bench::new().await;
    board(&bench).await;
    let mut raw = bench.raw().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut raw).await.expect("the keys");
    for key in keys.iter().filter(|key| bench.keys.read_model(key).is_some()) {
        run(&mut raw, &["DEL", key]).await;
    }
    audit(&bench, Mode::Rebuild).await;
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn a_live_system_is_audited_and_rebuilt_without_a_false_word() {
    let bench = Bench::new().await;
    for _ in 0..300 {
        bench.enqueue("small").await;
    }
    let busy = async {
        for number in 0..400 {
            let id = bench.enqueue("small").await;
            if number % 2 == 0 {
                let by = "alice".parse().expect("a name");
                let cancel = JobCommand::RequestCancel { by, force: events::job::CancelMode::Graceful };
                bench.command(id, &cancel).await.expect("cancelled");
            }
        }
    };
    let looked = async {
        let mut audits = 0;
        for _ in 0..6 {
            for mode in [Mode::Verify, Mode::Rebuild] {
                assert_eq!(audit(&bench, mode).await.differences, 0);
                audits += 1;
            }
        }
        audits
    };
    let ((), audits) = tokio::join!(busy, looked);
    assert_eq!(audits, 12);
    bench.check(Expect::SomeOpen).await;
}
