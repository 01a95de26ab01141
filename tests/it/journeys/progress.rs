//! How far a job is and how its numbers go, seen while it runs and for a while after.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT};
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::{INSTANT, gated};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use serde_json::{Value, json};

use super::all_is_well;

const SOON: Duration = Duration::from_mins(1);

/// The points of a job's curves, by their names.
async fn curves(client: &Client, job: &str) -> Value {
    let answer = client.get(&format!("/jobs/{job}/curves")).await;
    assert_eq!((answer.status, &answer.body["job_id"]), (200, &json!(job)), "{answer:?}");
    let curves = answer.body["curves"].as_array().expect("a list").clone();
    let named =
        curves.into_iter().map(|curve| (curve["name"].as_str().expect("a name").to_owned(), curve["points"].clone()));
    Value::Object(named.collect())
}

/// Waits until a job is so far.
async fn wait_until_at(client: &Client, job: &str, message: &str) -> Value {
    until(&format!("it is at {message:?}"), SOON, async || {
        let job = client.get(&format!("/jobs/{job}")).await.body;
        (job["progress"]["message"] == message).then(|| job["progress"].clone())
    })
    .await
}

#[tokio::test]
async fn it_is_seen_while_the_job_runs_and_after_its_end() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("go");
    let told = "print('::progress 0.25 reading', flush=True)\n\
                for n in range(3): print(f'::metric loss {1 / (n + 1)} step={n}\\n::metric rate {n}', flush=True)\n\
                print('::progress 0.5 half')\n";
    let job = alice.run(&format!("{told}{}\nprint('::progress 1.0 done')\n", gated(&gate))).await;
    let progress = wait_until_at(&alice, &job, "half").await;
    assert_eq!(progress["fraction"], 0.5);
    assert!(progress["at"].as_str().expect("a time").ends_with('Z'));
    let seen = until("the system is looked at", SOON, async || {
        let seen = curves(&alice, &job).await;
        seen["system/cpu_percent"].is_array().then_some(seen)
    })
    .await;
    let steps = json!([[0.0, 1.0], [1.0, 0.5], [2.0, 1.0 / 3.0]]);
    assert_eq!(seen["loss"], steps);
    assert!(seen["rate"][0][0].as_f64().expect("seconds") < 60.0);
    let newest =
        |name: &str| seen[name].as_array().expect("points").last().expect("a point")[1].as_f64().expect("a number");
    assert!(newest("system/memory_bytes") > 1e6, "{seen}");
    assert!(newest("system/processes") >= 1.0, "{seen}");
    assert!(seen["system/gpu_memory_bytes"].is_null(), "without a GPU");
    let shown = board.run(["jobs", "show", &job]).stdout;
    assert!(shown.contains("50 %, half ("), "{shown}");

    std::fs::write(&gate, "").expect("the gate");
    let done = alice.wait_for(&job, "completed").await;
    assert_eq!((&done["progress"]["fraction"], &done["progress"]["message"]), (&json!(1.0), &json!("done")));
    assert_eq!(curves(&alice, &job).await["loss"], steps);
    let table = board.run(["jobs", "curves", &job]).stdout;
    assert!(table.starts_with("NAME") && table.contains("loss"), "{table}");
    assert_eq!(board.run(["jobs", "curves", &job, "--json"]).json()["attempt"], 1);
    let log = alice.get(&format!("/jobs/{job}/logs")).await.body;
    assert!(log["logs"].as_str().expect("a text").starts_with("::progress 0.25 reading\n::metric loss 1.0 step=0\n"));

    let path = format!("/jobs/{job}/curves");
    assert_eq!(Client::new(board.server(), BOB).get(&path).await.status, 404);
    assert_eq!(Client::new(board.server(), ROOT).get(&path).await.status, 200);
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_that_tells_nothing_has_no_progress_and_one_that_ends_at_once_has_its_last() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let quiet = alice.run(INSTANT).await;
    assert_eq!(alice.wait_for(&quiet, "completed").await["progress"], Value::Null);
    let brief = alice.run(&format!("{INSTANT}\nfor n in range(101): print(f'::progress {{n / 100}} n{{n}}')\n")).await;
    assert_eq!(alice.wait_for(&brief, "completed").await["progress"]["message"], "n100");
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_flood_of_markers_stays_bounded_and_loses_nothing_of_the_log() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let flood = "for n in range(100_000): print(f'::metric m{n % 100} {n} step={n}\\n::progress {n / 100_000:.5f}')\n\
                 print('::metric ' + 'x' * 1_000_000 + ' 1')\nprint('::metric system/cpu_percent 1e9')\n";
    let job = alice.run(&format!("{flood}{INSTANT}")).await;
    let done = alice.wait_for(&job, "completed").await;
    assert_eq!(done["progress"]["fraction"], json!(0.99999));
    let curves = curves(&alice, &job).await;
    let curves = curves.as_object().expect("curves");
    let own = curves.iter().filter(|(name, _)| !name.starts_with("system/"));
    let points: Vec<usize> = own.map(|(_, points)| points.as_array().expect("points").len()).collect();
    assert_eq!(points.len(), 50);
    assert!(points.iter().all(|points| (200..500).contains(points)), "{points:?}");
    let keys = Keyspace::default();
    let mut size = redis::cmd("MEMORY");
    size.arg("USAGE").arg(keys.progress(job.parse().expect("an id")));
    let bytes: u64 = size.query_async(&mut board.redis().await).await.expect("a size");
    assert!(bytes < 1_500_000, "{bytes} bytes");
    let printed: usize = (0..100_000_u32)
        .map(|n| format!("::metric m{} {n} step={n}\n::progress {:.5}\n", n % 100, f64::from(n) / 1e5).len())
        .sum();
    let others = "::metric  1\n::metric system/cpu_percent 1e9\nhello from the job\n".len() + 1_000_000;
    let log = alice.get(&format!("/jobs/{job}/logs?tail_lines=1")).await.body;
    assert_eq!(log["next_offset"], json!(printed + others));
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_new_attempt_begins_anew() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let lost = roles.worker("lost", "1s");
    let (again, gate) = (roles.gate("again"), roles.gate("go"));
    let job = alice
        .run(&format!(
            "import os\nif not os.path.exists('{}'): print('::progress 0.9 first\\n::metric a 1', flush=True)\n{}",
            again.display(),
            gated(&gate)
        ))
        .await;
    wait_until_at(&alice, &job, "first").await;
    std::fs::write(&again, "").expect("a file");
    lost.signal(Signal::SIGKILL);
    let _other = roles.worker("other", "1s");
    until("it runs again", SOON, async || {
        let job = alice.get(&format!("/jobs/{job}")).await.body;
        (job["attempt"] == 2).then(|| assert_eq!(job["progress"], Value::Null))
    })
    .await;
    std::fs::write(&gate, "").expect("the gate");
    assert_eq!(alice.wait_for(&job, "completed").await["progress"], Value::Null);
    assert_eq!(curves(&alice, &job).await["a"], Value::Null);
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}
