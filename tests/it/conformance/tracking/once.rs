//! There is one run of each end, however often it was begun, by whom, and what became of it meanwhile.

use std::collections::BTreeSet;

use adapters::ids::SystemIds;
use events::Results;
use events::ports::{Ids, OpenRun, RunRecord, RunStatus};
use leadersboard_tests::http_faults::{Call, Fault};
use reqwest::StatusCode;
use serde_json::json;

use super::{Site, end, small};

fn under_another_fence(record: &RunRecord) -> RunRecord {
    RunRecord { fence: SystemIds.fence(), ..record.clone() }
}

#[tokio::test]
async fn what_was_begun_twice_becomes_one_and_what_may_be_somebody_elses_stays() {
    let site = Site::new().await;
    let (port, ours) = (site.port(), small());
    let [other, ended] = [(); 2].map(|()| under_another_fence(&ours));
    let mut begun = Vec::new();
    for _ in 0..3 {
        begun.push(site.begun_elsewhere(&ours, "main").await);
    }
    let other_run = site.begun_elsewhere(&other, "main").await;
    let ended_run = site.begun_elsewhere(&ended, "main").await;
    site.close_elsewhere(&ended_run).await;
    let foreign_run = site.begun_elsewhere(&ours, "another board").await;
    let another = small();
    let other_job = site.begun_elsewhere(&another, "main").await;

    let run = port.record(&ours).await.expect("recorded");
    assert_eq!(Some(&run.run_id), begun.iter().min(), "all who look at the same moment choose the same");
    let left: BTreeSet<String> = site.active().await.into_iter().map(|(run, _)| run).collect();
    let wanted = [run.run_id.clone(), other_run.clone(), ended_run, foreign_run, other_job.clone()];
    assert_eq!(left, BTreeSet::from(wanted));

    let open = async |of| {
        let mut open = port.open_runs(of).await.expect("a list");
        open.sort_by(|one, other| one.run_id.cmp(&other.run_id));
        open
    };
    let expected = |runs: &[(&str, &RunRecord)]| {
        let run = |(run_id, record): &(&str, &RunRecord)| OpenRun {
            run_id: (*run_id).to_owned(),
            job: record.job,
            fence: record.fence.clone(),
        };
        let mut runs: Vec<OpenRun> = runs.iter().map(run).collect();
        runs.sort_by(|one, other| one.run_id.cmp(&other.run_id));
        runs
    };
    let of_job = [(run.run_id.as_str(), &ours), (other_run.as_str(), &other)];
    assert_eq!(open(Some(ours.job)).await, expected(&of_job));
    assert_eq!(open(None).await, expected(&[of_job[0], of_job[1], (other_job.as_str(), &another)]));
}

#[tokio::test]
async fn open_runs_that_hold_more_than_one_answer_may_have_are_found_one_by_one() {
    let site = Site::new().await;
    let records = [(); 4].map(|()| small());
    let mut begun = BTreeSet::new();
    for record in &records {
        let run_id = site.begun_elsewhere(record, "main").await;
        // Each of these characters is told in twelve.
        let text = "😀".repeat(8_000);
        for batch in 0..10 {
            let tags: Vec<_> = (0..10).map(|n| json!({ "key": format!("t{batch}{n}"), "value": text })).collect();
            let (status, said) = site.mlflow.post("runs/log-batch", &json!({ "run_id": run_id, "tags": tags })).await;
            assert_eq!(status, StatusCode::OK, "{said}");
        }
        begun.insert(run_id);
    }
    let open = site.port().open_runs(None).await.expect("a list");
    assert_eq!(open.into_iter().map(|open| open.run_id).collect::<BTreeSet<_>>(), begun);
}

#[tokio::test]
async fn a_closed_run_is_taken_before_an_open_one_of_the_same_fence() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let first = port.record(&record).await.expect("recorded");
    port.close(&first, &end(RunStatus::Finished)).await.expect("closed");
    // A zombie's.
    for _ in 0..3 {
        site.begun_elsewhere(&record, "main").await;
    }
    assert_eq!(port.record(&record).await, Ok(first.clone()));
    assert_eq!(site.active().await, [(first.run_id, "FINISHED".to_owned())]);
}

#[tokio::test]
async fn many_at_once_leave_one_after_the_next() {
    let site = Site::new().await;
    let record = small();
    let ports: Vec<_> = (0..4).map(|_| site.port()).collect();
    // None of them waits for another; the experiment is made by one of them, and found by the others.
    let results = futures::future::join_all(ports.iter().map(|port| port.record(&record))).await;
    assert!(results.iter().any(Result::is_ok), "{results:?}");
    let run = site.port().record(&record).await.expect("recorded");
    assert_eq!(site.active().await, [(run.run_id, "RUNNING".to_owned())]);
}

#[tokio::test]
async fn an_interrupted_run_is_completed() {
    let site = Site::new().await;
    let record = small();
    let begun = site.begun_elsewhere(&record, "main").await;
    let half = json!({ "run_id": begun, "metrics": [
        { "key": "auc", "value": 0.5, "timestamp": record.started_at.timestamp_millis(), "step": 0 },
    ] });
    assert_eq!(site.mlflow.post("runs/log-batch", &half).await.0, StatusCode::OK);
    let run = site.port().record(&record).await.expect("recorded");
    assert_eq!(run.run_id, begun);
    let reported = json!({ "params": { "lr": 0.1 }, "metrics": { "auc": 0.5, "loss": 2 } });
    site.mlflow.read_back().await.only().assert_holds(&reported);
}

#[tokio::test]
async fn an_experiment_that_was_deleted_is_restored_with_its_runs() {
    let site = Site::new().await;
    let port = site.port();
    let before = port.record(&small()).await.expect("recorded");
    let id = json!({ "experiment_id": before.experiment_id });
    assert_eq!(site.mlflow.post("experiments/delete", &id).await.0, StatusCode::OK);
    // The one that knows its id, and one that does not.
    for port in [port, site.port()] {
        let run = port.record(&small()).await.expect("recorded");
        assert_eq!(run.experiment_id, before.experiment_id);
        assert_eq!(site.mlflow.find_experiment().await.expect("it is there").1, "active");
        assert_eq!(site.mlflow.post("experiments/delete", &id).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn only_what_is_open_is_deleted_as_open_and_what_is_gone_is_no_error() {
    let site = Site::new().await;
    let port = site.port();
    let [open, closed] = [port.record(&small()).await, port.record(&small()).await].map(|run| run.expect("recorded"));
    port.close(&closed, &end(RunStatus::Failed)).await.expect("closed");
    assert_eq!(port.delete_open(&closed.run_id).await, Ok(false));
    assert_eq!(port.delete_open(&open.run_id).await, Ok(true));
    assert_eq!(port.delete_open(&open.run_id).await, Ok(false));
    assert_eq!(site.active().await, [(closed.run_id.clone(), "FAILED".to_owned())]);
    assert_eq!(port.open_runs(None).await, Ok(vec![]));
    for _ in 0..2 {
        port.delete(&closed.run_id).await.expect("gone");
    }
    let nobodys = "0123456789abcdef0123456789abcdef";
    port.delete(nobodys).await.expect("gone");
    assert_eq!(port.delete_open(nobodys).await, Ok(false));
    assert_eq!(site.active().await, []);
}

#[tokio::test]
async fn a_run_whose_creation_was_not_heard_of_is_found() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    site.network.set(Fault::LoseAnswer(Call::Create)).await;
    port.record(&record).await.expect_err("the answer is lost");
    assert!(site.network.struck() > 0);
    site.network.heal().await;
    let run = port.record(&record).await.expect("recorded");
    assert_eq!(site.active().await, [(run.run_id, "RUNNING".to_owned())]);
}

#[tokio::test]
async fn what_was_recorded_as_completed_is_not_mixed_with_the_end_that_counts() {
    let site = Site::new().await;
    let (port, late) = (site.port(), small());
    let early = port.record(&late).await.expect("recorded");
    // Its job was cancelled by force before its end was accepted.
    let accepted = RunRecord { outcome: RunStatus::Killed, results: Results::default(), ..late.clone() };
    let run = port.record(&accepted).await.expect("recorded");
    assert_ne!(run.run_id, early.run_id);
    port.close(&run, &end(RunStatus::Killed)).await.expect("closed");
    // Whoever completed goes on, and does nothing to it.
    let later = port.record(&late).await.expect("recorded");
    assert_ne!(later.run_id, run.run_id);
    assert!(port.delete_open(&later.run_id).await.expect("an answer"));

    let read = site.mlflow.read_back().await;
    let left: Vec<_> = read.active().collect();
    assert_eq!(left.len(), 1, "{read:#?}");
    assert_eq!((left[0].id.as_str(), left[0].status.as_str()), (run.run_id.as_str(), "KILLED"));
    left[0].assert_holds(&json!({ "params": {}, "metrics": {} }));
}

#[tokio::test]
async fn a_run_is_gone_on_with_where_it_was_begun() {
    let site = Site::new().await;
    let mut record = small();
    let begun = site.port().record(&record).await.expect("recorded");
    let elsewhere = site.port_with(|options| options.experiment.push_str(" renamed"));
    record.known = Some(begun.clone());
    assert_eq!(elsewhere.record(&record).await.expect("recorded"), begun);
    elsewhere.close(&begun, &end(RunStatus::Finished)).await.expect("closed");
    assert_eq!(elsewhere.record(&record).await.expect("recorded"), begun);
    assert_eq!(site.active().await, [(begun.run_id, "FINISHED".to_owned())]);
}

#[tokio::test]
async fn a_closed_run_that_somebody_adds_to_is_nobodys_to_delete() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let run = port.record(&record).await.expect("recorded");
    port.close(&run, &end(RunStatus::Finished)).await.expect("closed");
    // As MLflow's own client takes a run up again.
    let again = json!({ "run_id": run.run_id, "status": "RUNNING", "end_time": 1_790_000_100_456_i64 });
    let (status, told) = site.mlflow.post("runs/update", &again).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!(port.open_runs(None).await.expect("an answer"), []);
    assert!(!port.delete_open(&run.run_id).await.expect("an answer"));
    assert_eq!(port.record(&record).await.expect("recorded"), run);
    assert_eq!(site.active().await.len(), 1);
}
