//! What is told of a job's memory.

use leadersboard_tests::wait::until;
use serde_json::json;

use super::{Level, PATIENCE, Site};

crate::tests!(memory_that_processes_share_is_told_once);

async fn memory_that_processes_share_is_told_once(level: Level) {
    const MIB: u64 = 200;
    let site = Site::new(level, &[]).await;
    let gate = site.board.gate("told");
    let targets = json!({ "token": "", "way": "shared", "gate": gate, "mib": MIB });
    let job = site.submit(include_str!("programs/shares.py"), &targets).await;
    site.begun(&job).await;
    let told = until("so much memory is told", PATIENCE, async || {
        let curves = site.alice.get(&format!("/jobs/{job}/curves")).await.body;
        let curve = curves["curves"].as_array()?.iter().find(|curve| curve["name"] == "system/memory_bytes")?;
        let processes = curves["curves"].as_array()?.iter().find(|curve| curve["name"] == "system/processes")?;
        // Of a moment at which all five were there.
        let all = |point: &serde_json::Value| point[1].as_f64().is_some_and(|count| count >= 5.0);
        processes["points"].as_array()?.last().filter(|point| all(point))?;
        curve["points"].as_array()?.last()?[1].as_f64().filter(|bytes| *bytes > (MIB << 20) as f64)
    })
    .await;
    assert!(told < ((2 * MIB) << 20) as f64, "{told} bytes are told of {MIB} MiB that five processes share");
    std::fs::write(&gate, "").expect("the gate");
    site.completed(&job).await;
    site.unharmed().await;
}
