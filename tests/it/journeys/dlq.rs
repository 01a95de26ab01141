//! Dead letters, from the command line of an operator.

use std::process::Command;

use adapters::ids::SystemIds;
use adapters::redis::Redis;
use events::execute::{self, Origin};
use events::job::{Start, Tracking};
use events::ports::{Ids, JobQueuePort};
use events::{Actor, Consumer, JobCommand, JobId, JobSpec, LossCause, Policy};
use leadersboard_tests::board::Finished;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::roomy::roomy;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use serde_json::Value;
use std::time::Duration;

use super::INSTANT;

/// Roles without a worker, and dead letters among their jobs.
struct Morgue {
    roles: Roles,
    redis: Redis,
    submission: String,
    _api: leadersboard_tests::board::Process,
    alice: leadersboard_tests::client::Client,
}

impl Morgue {
    async fn new() -> Self {
        let roles = Roles::new().await;
        let (api, alice) = roles.api();
        let keys = Keyspace::default();
        let redis = Redis::connect(&roles.redis.url(), keys).await.expect("Redis");
        let submission = alice.submit(INSTANT).await;
        Self { roles, redis, submission, _api: api, alice }
    }

    /// A job of this user's that was given up for this cause.
    async fn dead_letter(&self, user: &str, cause: LossCause) -> JobId {
        let policy = Policy { max_retries: 0, ..roomy() };
        let origin = Origin { actor: Actor::System("test".to_owned()), trace: None };
        let id = SystemIds.job();
        let command = async |command: JobCommand| {
            execute::job(&self.redis, &policy, &origin, id, &command, 1.0).await.expect("carried out");
        };
        let submission = self.submission.parse().expect("an id");
        let (user, class) = (user.parse().expect("a name"), "small".parse().expect("a class"));
        command(JobCommand::Enqueue(JobSpec { submission, user, class, config: "{}".to_owned(), idempotency: None }))
            .await;
        let worker: Consumer = "w-test".parse().expect("a name");
        let queue: &dyn JobQueuePort = &self.redis;
        let classes = ["small".parse().expect("a class")];
        let mut reader = queue.reader(&worker, &classes).await.expect("a reader");
        for loss in 1..=3 {
            let claim = reader.claim(1, Duration::from_secs(10)).await.expect("tickets").remove(0);
            let fence = SystemIds.fence();
            let (gpus, sandbox) = (vec![], "off".to_owned());
            let start = Start {
                fence: fence.clone(),
                ticket: claim.ticket,
                worker: worker.clone(),
                gpus,
                sandbox,
                tracking: Tracking::Off,
            };
            command(JobCommand::Start(start)).await;
            command(JobCommand::LoseLease { fence, cause, error: "it went away".to_owned() }).await;
            if cause == LossCause::Infrastructure {
                break;
            }
            if loss < 3 {
                command(JobCommand::Dispatch).await;
            }
        }
        queue.retire(&worker, &classes).await.expect("retired");
        id
    }

    fn dlq(&self, arguments: &[&str]) -> Finished {
        let mut command: Command = self.roles.command(&["--json", "dlq"]);
        Finished::of(command.args(arguments).env("USER", "root").output().expect("the binary runs"))
    }

    async fn all_ended(&self) {
        check(&self.roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
    }
}

fn listed(answer: &Value) -> Vec<&str> {
    answer["dead_letters"].as_array().expect("a list").iter().filter_map(|letter| letter["job_id"].as_str()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_by_kind_user_and_time_and_each_tells_why() {
    let morgue = Morgue::new().await;
    let poison = morgue.dead_letter("alice", LossCause::WorkerLost).await.to_string();
    let hers = morgue.dead_letter("alice", LossCause::Infrastructure).await.to_string();
    let his = morgue.dead_letter("bob", LossCause::Infrastructure).await.to_string();
    let list = |arguments: &[&str]| {
        let answer = morgue.dlq(&[&["list"], arguments].concat());
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.json()
    };
    assert_eq!(listed(&list(&[])), [&his, &hers, &poison], "newest first");
    assert_eq!(listed(&list(&["--kind", "worker_lost"])), [&poison]);
    assert_eq!(listed(&list(&["--user", "bob"])), [&his]);
    assert_eq!(listed(&list(&["--limit", "1"])), [&his]);
    assert_eq!(listed(&list(&["--since", "1h"])).len(), 3);
    assert_eq!(listed(&list(&["--since", "2099-01-01T00:00:00Z"])), [""; 0]);
    let wrong = morgue.dlq(&["list", "--since", "soon"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("soon"), "{wrong:?}");

    let shown = morgue.dlq(&["show", &poison]).json();
    assert_eq!((&shown["kind"], &shown["error"]), (&"worker_lost".into(), &"it went away".into()), "{shown}");
    let kinds: Vec<&str> =
        shown["events"].as_array().expect("events").iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "job.lease_lost").count(), 3, "{kinds:?}");
    let text = Finished::of(morgue.roles.command(&["dlq", "list"]).output().expect("it runs")).stdout;
    assert!(text.contains("it went away") && text.contains(&hers), "{text}");
    morgue.all_ended().await;
}

#[tokio::test]
async fn a_replayed_dead_letter_runs_with_all_its_tries_anew() {
    let morgue = Morgue::new().await;
    let poison = morgue.dead_letter("alice", LossCause::WorkerLost).await;
    let letter = morgue.dead_letter("alice", LossCause::Infrastructure).await;
    let dry = morgue.dlq(&["replay", "--all", "--dry-run"]).json();
    assert_eq!((&dry["replayed"], &dry["poison"]), (&1.into(), &1.into()), "{dry}");
    assert_eq!(listed(&morgue.dlq(&["list"]).json()).len(), 2, "a dry run does nothing");

    let done = morgue.dlq(&["replay", "--all", "--why", "disk replaced", "--rate", "50/s"]).json();
    assert_eq!((&done["replayed"], &done["poison"]), (&1.into(), &1.into()), "{done}");
    assert_eq!(listed(&morgue.dlq(&["list"]).json()), [poison.to_string()]);
    let _worker = morgue.roles.worker("one", "1s");
    morgue.alice.wait_for(&letter.to_string(), "completed").await;

    let again = morgue.dlq(&["replay", &letter.to_string()]);
    assert!(again.code == Some(1) && again.stdout.contains("only a failed job"), "{again:?}");
    assert_eq!(morgue.dlq(&["replay", &poison.to_string()]).json()["replayed"], 1);
    let shown = morgue.alice.wait_for(&poison.to_string(), "completed").await;
    assert_eq!(shown["attempt"], 4, "{shown}");
    let story = morgue.alice.get(&format!("/jobs/{letter}/events")).await.body;
    let replayed = story["events"].as_array().expect("events").iter().find(|event| event["type"] == "job.replayed");
    let data = &replayed.expect("the replay")["data"];
    assert_eq!((&data["by"], &data["why"]), (&"root".into(), &"disk replaced".into()), "{data}");
    morgue.all_ended().await;
}

#[tokio::test]
async fn a_replay_that_is_killed_half_way_is_finished_by_the_next() {
    let morgue = Morgue::new().await;
    let mut letters = Vec::new();
    for _ in 0..12 {
        letters.push(morgue.dead_letter("alice", LossCause::Infrastructure).await);
    }
    let mut slow = morgue.roles.command(&["dlq", "replay", "--all", "--rate", "20/s"]);
    let slow = leadersboard_tests::board::Process::spawn({
        slow.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        slow
    });
    let left = async || listed(&morgue.dlq(&["list"]).json()).len();
    until("some were replayed", Duration::from_secs(10), async || (left().await < 12).then_some(())).await;
    slow.signal(Signal::SIGKILL);
    until("it is dead", Duration::from_secs(10), async || {
        let before = left().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (left().await == before).then_some(())
    })
    .await;
    assert!(left().await > 0, "it was killed half-way");
    let _worker = morgue.roles.worker("one", "1s");
    morgue.dlq(&["replay", "--all"]);
    for letter in letters {
        morgue.alice.wait_for(&letter.to_string(), "completed").await;
    }
    let folded = check(&morgue.roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
    for story in folded.stories.values() {
        assert_eq!(story.iter().filter(|kind| **kind == "job.replayed").count(), 1, "{story:?}");
    }
}

#[tokio::test]
async fn what_is_purged_leaves_no_key_and_no_log() {
    let morgue = Morgue::new().await;
    let letter = morgue.dead_letter("alice", LossCause::Infrastructure).await;
    let log = morgue.roles.data.path().join("logs").join(letter.to_string());
    std::fs::create_dir_all(&log).expect("a folder");
    std::fs::write(log.join("a.log"), "begun\n").expect("a log");
    let asked = morgue.dlq(&["purge"]).json();
    assert_eq!((&asked["purged"], &asked["selected"]), (&0.into(), &1.into()));
    assert!(log.exists());
    assert_eq!(morgue.dlq(&["purge", "--yes"]).json()["purged"], 1);
    assert!(!log.exists());
    assert_eq!(morgue.alice.get(&format!("/jobs/{letter}")).await.status, 404);
    morgue.all_ended().await;
}
