//! The files and the log of a run are there, whole, and not sent again.

use std::collections::BTreeMap;

use events::job::ArtifactTotals;
use events::ports::TrackingError;
use leadersboard_tests::http_faults::{Call, Fault};
use leadersboard_tests::read_back::sha256;

use super::{Site, small};

/// The digests of these files.
fn digests(files: &[(&str, &[u8])]) -> BTreeMap<String, String> {
    files.iter().map(|(path, content)| ((*path).to_owned(), sha256(content))).collect()
}

#[tokio::test]
async fn files_of_any_name_and_the_log_are_there_once_and_whole() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let mut files: Vec<(&str, &[u8])> = vec![
        ("metrics.json", b"{}"),
        ("empty", b""),
        ("a b/c d.txt", b"1"),
        ("deep/er/still/x.bin", &large),
        ("é/日本.txt", b"2"),
        ("a#b", b"3"),
        ("a_b", b"4"),
        ("100%.txt", b"5"),
        ("%23", b"6"),
        ("a?b&c=d+e;f", b"7"),
        ("back\\slash", b"8"),
        ("colon:", b"9"),
        ("leadersboard/log.txt", b"a job's own"),
    ];
    site.leave(record.job, &record.fence, &files, "hello\nfrom the job\n").await;
    let run = port.record(&record).await.expect("recorded");
    port.upload(&run, &record).await.expect("uploaded");
    files.push(("leadersboard/log-2.txt", b"hello\nfrom the job\n"));
    assert_eq!(site.mlflow.read_back().await.only().files, digests(&files));

    let sent = site.network.count(Call::PutFile);
    assert_eq!(sent, files.len() as u64);
    site.port().upload(&run, &record).await.expect("uploaded");
    assert_eq!(site.network.count(Call::PutFile), sent, "what is there is not sent again");
    assert_eq!(site.mlflow.read_back().await.only().files, digests(&files));
}

#[tokio::test]
async fn many_files_are_there() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let names: Vec<String> = (0..300).map(|number| format!("{}/{number}.txt", number % 3)).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    site.leave(record.job, &record.fence, &files, "").await;
    let run = port.record(&record).await.expect("recorded");
    port.upload(&run, &record).await.expect("uploaded");
    let mut found = site.mlflow.read_back().await.only().files.clone();
    found.remove("leadersboard/log.txt");
    assert_eq!(found, digests(&files));
}

#[tokio::test]
async fn a_file_cut_off_on_its_way_is_sent_again() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let large = vec![7; 4_000_000];
    let files: [(&str, &[u8]); 2] = [("small", b"1"), ("large", &large)];
    site.leave(record.job, &record.fence, &files, "x").await;
    let run = port.record(&record).await.expect("recorded");
    site.network.set(Fault::CutFiles(1_000_000)).await;
    let refused = port.upload(&run, &record).await.expect_err("it is cut off");
    assert!(matches!(refused, TrackingError::Away(_)), "{refused:?}");
    site.network.heal().await;
    port.upload(&run, &record).await.expect("uploaded");
    let wanted = digests(&[files[0], files[1], ("leadersboard/log.txt", b"x")]);
    assert_eq!(site.mlflow.read_back().await.only().files, wanted);
}

#[tokio::test]
async fn a_file_that_was_dropped_behind_a_good_answer_is_noticed() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    site.leave(record.job, &record.fence, &[("a", b"1")], "x").await;
    let run = port.record(&record).await.expect("recorded");
    site.network.set(Fault::Swallow(Call::PutFile)).await;
    let refused = port.upload(&run, &record).await.expect_err("it is not there");
    assert!(matches!(refused, TrackingError::Refused(_)), "{refused:?}");
    site.network.heal().await;
    port.upload(&run, &record).await.expect("uploaded");
    let wanted = digests(&[("a", b"1"), ("leadersboard/log.txt", b"x")]);
    assert_eq!(site.mlflow.read_back().await.only().files, wanted);
}

#[tokio::test]
async fn a_run_that_left_nothing_has_nothing() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let run = port.record(&record).await.expect("recorded");
    port.upload(&run, &record).await.expect("there is nothing");
    assert_eq!(site.mlflow.read_back().await.only().files, BTreeMap::new());
}

#[tokio::test]
async fn who_does_not_see_the_files_that_were_kept_waits_for_them() {
    let site = Site::new().await;
    let (port, mut record) = (site.port(), small());
    let totals = |digest: &str| Some(ArtifactTotals { count: 1, bytes: 1, digest: digest.to_owned() });
    record.artifacts = totals(&sha256(b"[]"));
    let run = port.record(&record).await.expect("recorded");
    let missing = port.upload(&run, &record).await.expect_err("there is no list");
    assert!(matches!(&missing, TrackingError::Files(why) if why.contains("ARTIFACT_ROOT")), "{missing:?}");

    site.leave(record.job, &record.fence, &[("a", b"1")], "x").await;
    let other = port.upload(&run, &record).await.expect_err("it is another list");
    assert!(matches!(other, TrackingError::Files(_)), "{other:?}");
    let list = site.artifacts.list(record.job, &record.fence).await.expect("an answer").expect("a list");
    record.artifacts = totals(&sha256(&list));
    port.upload(&run, &record).await.expect("uploaded");
    let wanted = digests(&[("a", b"1"), ("leadersboard/log.txt", b"x")]);
    assert_eq!(site.mlflow.read_back().await.only().files, wanted);
}

#[tokio::test]
async fn files_that_are_gone_or_changed_are_told_of_and_keep_no_other() {
    let site = Site::new().await;
    let (port, record) = (site.port(), small());
    let files: [(&str, &[u8]); 4] = [("a", b"1"), ("b", b"2"), ("c", b"33"), ("d", b"44")];
    site.leave(record.job, &record.fence, &files, "x").await;
    let folder = site.data.path().join("artifacts").join(record.job.to_string()).join(record.fence.as_str());
    std::fs::remove_file(folder.join("files/a")).expect("it was there");
    std::fs::write(folder.join("files/c"), "3").expect("written");
    std::fs::write(folder.join("files/d"), "45").expect("written");
    let run = port.record(&record).await.expect("recorded");
    port.upload(&run, &record).await.expect("uploaded");
    let read = site.mlflow.read_back().await;
    assert_eq!(read.only().files, digests(&[("b", b"2"), ("leadersboard/log.txt", b"x")]));
    assert_eq!(
        read.only().tags["leadersboard.artifacts"],
        "3 of the files were gone or changed, or too large for MLflow: a, c, d"
    );
}

#[tokio::test]
async fn what_counts_as_not_kept_is_not_recorded_and_a_log_that_is_missed_is_told_of() {
    let site = Site::new().await;
    let (port, mut record) = (site.port(), small());
    record.artifacts = Some(ArtifactTotals::default());
    site.leave(record.job, &record.fence, &[("late", b"1")], "x").await;
    std::fs::remove_dir_all(site.data.path().join("logs").join(record.job.to_string())).expect("it was there");
    let run = port.record(&record).await.expect("recorded");
    port.upload(&run, &record).await.expect("uploaded");
    let read = site.mlflow.read_back().await;
    assert_eq!(read.only().files, BTreeMap::new());
    let told = &read.only().tags["leadersboard.artifacts"];
    assert_eq!(told, "1 of the files were gone or changed, or too large for MLflow: leadersboard/log.txt");
}
