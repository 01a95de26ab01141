//! Logs are append-only texts, one a run.

use adapters::ids::SystemIds;
use adapters::log_files::LogFiles;
use adapters::object::ObjectLogs;
use events::ports::{Ids, LogPort};
use leadersboard_tests::s3::S3Server;

async fn conforms(logs: &dyn LogPort) {
    let (job, first, second) = (SystemIds.job(), SystemIds.fence(), SystemIds.fence());
    assert_eq!(logs.len(job, &first).await, Ok(None));
    assert!(logs.read(job, &first, 0, 100).await.expect("no log is no error").is_empty());

    let mut writer = logs.create(job, &first).await.expect("a log");
    assert_eq!(logs.len(job, &first).await, Ok(Some(0)));
    writer.append(b"one\n").await.expect("written");
    assert_eq!(&logs.read(job, &first, 0, 100).await.expect("read")[..], b"one\n", "at once");
    writer.append(b"two\xff\n").await.expect("bytes, not text");
    assert_eq!(&logs.read(job, &first, 4, 3).await.expect("read")[..], b"two");
    assert_eq!(logs.len(job, &first).await, Ok(Some(9)));
    assert!(logs.read(job, &first, 99, 100).await.expect("read").is_empty(), "past the end");

    let mut other = logs.create(job, &second).await.expect("a log");
    other.append(b"another run").await.expect("written");
    assert_eq!(logs.len(job, &first).await, Ok(Some(9)), "runs are apart");

    for writer in [&mut writer, &mut other] {
        writer.close().await.expect("sent");
    }
    let kept = SystemIds.job();
    logs.create(kept, &first).await.expect("a log").append(b"kept").await.expect("written");
    logs.delete(job).await.expect("deleted");
    logs.delete(job).await.expect("twice is no error");
    for run in [&first, &second] {
        assert_eq!(logs.len(job, run).await, Ok(None), "the log of every run is gone");
    }
    assert_eq!(logs.len(kept, &first).await, Ok(Some(4)), "that of another job is not");
}

#[tokio::test]
async fn logs_in_a_bucket() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    conforms(&ObjectLogs::new(server.store("x"), spool.path().to_owned(), None)).await;
}

#[tokio::test]
async fn log_files() {
    let root = tempfile::tempdir().expect("a directory");
    conforms(&LogFiles::open(root.path().join("logs")).expect("the root is made")).await;
}
