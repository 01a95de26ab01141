//! What is told is kept, to the last bit, whatever it is called and however much it is.

use std::collections::BTreeMap;

use super::{Site, end, record, small};
use events::ports::RunStatus;
use leadersboard_tests::tracked::limits;

#[tokio::test]
async fn what_a_job_reported_is_read_back_to_the_last_bit_at_all_limits() {
    let site = Site::new().await;
    let (port, limits) = (site.port(), limits());
    let record = record(&limits);
    let run = port.record(&record).await.expect("recorded");
    let read = site.mlflow.read_back().await;
    let open = read.only();
    open.assert_holds(&limits);
    assert_eq!((&open.id, open.status.as_str(), open.end_ms), (&run.run_id, "RUNNING", None));
    assert_eq!((&open.name, open.start_ms), (&record.job.to_string(), record.started_at.timestamp_millis()));
    assert_eq!(read.experiment_id.as_deref(), Some(run.experiment_id.as_str()));

    // All of it again: nothing is added, and nothing changes.
    assert_eq!(site.port().record(&record).await, Ok(run.clone()));
    assert_eq!(site.mlflow.read_back().await.only(), open);
    port.close(&run, &end(RunStatus::Finished)).await.expect("closed");
    assert_eq!(port.record(&record).await, Ok(run.clone()), "closed, it is found and left as it is");
    port.close(&run, &end(RunStatus::Finished)).await.expect("closed");
    let read = site.mlflow.read_back().await;
    let closed = read.only();
    closed.assert_holds(&limits);
    assert_eq!(
        (closed.status.as_str(), closed.end_ms),
        ("FINISHED", Some(end(RunStatus::Finished).at.timestamp_millis()))
    );
    assert_eq!((&closed.tags, &closed.points), (&open.tags, &open.points));
}

#[tokio::test]
async fn a_run_tells_whose_it_is_and_how_it_ended() {
    let site = Site::new().await;
    let port = site.port();
    let record = small();
    let run = port.record(&record).await.expect("recorded");
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut wanted = BTreeMap::from([
        tag("leadersboard.job_id", &record.job.to_string()),
        tag("leadersboard.submission_id", &record.submission.to_string()),
        tag("leadersboard.user", "alice"),
        tag("leadersboard.fence", record.fence.as_str()),
        tag("leadersboard.board", "main"),
        tag("leadersboard.entrypoint", "main.py"),
        tag("leadersboard.attempt", "1"),
        tag("leadersboard.worker", "w-1"),
        tag("leadersboard.sandbox", "standard"),
        tag("leadersboard.outcome", "completed"),
        tag("leadersboard.gpus", "GPU-1,GPU-2"),
        tag("mlflow.user", "alice"),
        tag("mlflow.source.name", "main.py"),
        tag("mlflow.source.type", "JOB"),
        tag("mlflow.runName", &record.job.to_string()),
    ]);
    assert_eq!(site.mlflow.read_back().await.only().tags, wanted);

    port.close(&run, &end(RunStatus::Failed)).await.expect("closed");
    wanted.extend([
        tag("leadersboard.failure_kind", "nonzero_exit"),
        tag("leadersboard.error", "the program ended with exit code 3"),
    ]);
    let read = site.mlflow.read_back().await;
    assert_eq!((read.only().status.as_str(), &read.only().tags), ("FAILED", &wanted));
}

#[tokio::test]
async fn a_cancelled_run_is_killed_and_its_error_may_be_long() {
    let site = Site::new().await;
    let port = site.port();
    let run = port.record(&small()).await.expect("recorded");
    let mut killed = end(RunStatus::Killed);
    killed.error = Some("é".repeat(9_000));
    port.close(&run, &killed).await.expect("closed");
    let read = site.mlflow.read_back().await;
    assert_eq!(read.only().status, "KILLED");
    assert!(read.only().tags["leadersboard.error"].starts_with(&"é".repeat(7_000)));
    assert!(!read.only().tags.contains_key("leadersboard.failure_kind"));
}
