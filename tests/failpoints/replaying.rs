//! The steps of an operator's replay.

use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use nix::sys::signal::Signal;

use crate::{Fault, PATIENCE, flawless, met, steps};
use leadersboard_tests::board::Process;
use leadersboard_tests::wait::until;

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let _worker = roles.worker("one", roles.lease);
    let gate = roles.gate("gate");
    let shown = gate.display();
    let once = format!("import os\nif not os.path.exists('{shown}'): raise SystemExit(3)\n{INSTANT}");
    let job = alice.run(&once).await;
    alice.wait_for(&job, "failed").await;
    std::fs::write(&gate, "").expect("the gate");

    let mut replay = roles.command(&["dlq", "replay", &job]);
    let words = std::fs::File::create(roles.data.path().join("words").join("faulty")).expect("a file");
    replay.env("FAILPOINTS", fault.at(step)).stdout(std::process::Stdio::null()).stderr(words);
    let replay = Process::spawn(replay);
    met(&roles, "faulty", step).await;
    if fault == Fault::Stop {
        replay.signal(Signal::SIGCONT);
    }
    // Whatever became of the first, a second finds it done or does it.
    until("it is replayed", PATIENCE, async || {
        let _ = roles.command(&["dlq", "replay", &job]).output().expect("it runs");
        (alice.get(&format!("/jobs/{job}")).await.body["status"] != "failed").then_some(())
    })
    .await;
    alice.wait_for(&job, "completed").await;
    let folded = flawless(&roles).await;
    let replays = folded.stories[&job.parse().expect("an id")].iter().filter(|kind| **kind == "job.replayed").count();
    assert_eq!(replays, 1, "{step}, {fault:?}");
}

steps! {
    world:
    before_a_replay = "commit.job.replayed.before",
    after_a_replay = "commit.job.replayed.after",
}
