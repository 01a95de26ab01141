//! `leadersboard doctor sandbox` sees what jobs are denied.

use serde_json::Value;

use super::{Level, Site};

crate::tests!(the_doctor_finds_nothing_that_is_not_known,);

async fn the_doctor_finds_nothing_that_is_not_known(level: Level) {
    let site = Site::new(level, &[]).await;
    let finished = site.board.run_alike(["doctor", "sandbox", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let report = finished.json();
    assert!(
        report["sandbox"].as_str().is_some_and(|applied| applied.starts_with(level.pick("full", "floor"))),
        "{report:#}"
    );
    let rows = report["attempts"].as_array().expect("attempts");
    let named = |verdict: &str| -> Vec<&str> {
        let rows = rows.iter().filter(|row| row["verdict"] == verdict);
        rows.filter_map(|row| row["attempt"].as_str()).collect()
    };
    assert_eq!(named("leak"), [""; 0], "{report:#}");
    let denied = named("denied");
    for attempt in ["read /etc/shadow", "use TCP", "trace the worker", "mount", "make a user namespace", "become root"]
    {
        assert!(denied.contains(&attempt), "{attempt}: {report:#}");
    }
    let secret = site.board.data().join("redis.url").display().to_string();
    assert!(denied.contains(&format!("read {secret}").as_str()), "{report:#}");
    assert!(
        rows.iter().any(|row| row["attempt"].as_str().is_some_and(|what| what.starts_with("connect to "))),
        "{report:#}"
    );
    let known: Vec<&Value> = rows.iter().filter(|row| row["verdict"] == "known").collect();
    assert_eq!(known.len(), level.pick(0, 2), "a signal, and the way to a socket: {known:#?}");
}
