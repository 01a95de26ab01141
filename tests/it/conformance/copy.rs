//! A copy of a board that is repeated while the board goes on.

use std::time::Duration;

use adapters::artifact_files::ArtifactFiles;
use adapters::copy::{Board, Copied, Copy, Item};
use adapters::ids::SystemIds;
use adapters::log_files::LogFiles;
use adapters::object::ObjectLogs;
use bytes::Bytes;
use events::ports::{ArtifactPort, Ids, LogPort};
use events::{Artifact, ArtifactList};
use futures::TryStreamExt;
use leadersboard_tests::http_faults::{Fault, HttpFaults};
use leadersboard_tests::s3::{S3Server, store_at};

/// The results for all items, in the order of their names.
async fn copy_all(copy: &Copy) -> Vec<(String, Copied)> {
    let items: Vec<Item> = copy.items().try_collect().await.expect("all items");
    let mut copied = Vec::new();
    for item in items {
        copied.push((item.to_string(), copy.copy(&item).await.expect("copied")));
        assert!(copy.is_done(&item).await.expect("compared"));
    }
    copied.sort_by(|(one, _), (other, _)| one.cmp(other));
    copied
}

#[tokio::test]
async fn a_log_that_grew_is_copied_on_from_where_it_was_copied_to() {
    let (server, root) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    let spool = root.path().join("spool");
    std::fs::create_dir(&spool).expect("a folder");
    let (job, fence) = (SystemIds.job(), SystemIds.fence());
    let in_folder = |name: &str| Board::in_folder(root.path().join(name));
    let in_bucket = |prefix: &str| Board::in_bucket(server.store(prefix), spool.clone());
    let folder = LogFiles::open(root.path().join("folder/logs")).expect("the root is made");
    let bucket = ObjectLogs::new(server.store("bucket"), spool.clone(), None);
    let sources: [&dyn LogPort; 2] = [&folder, &bucket];
    let mut writers = Vec::new();
    for source in sources {
        writers.push(source.create(job, &fence).await.expect("a log"));
    }
    for (pass, piece) in [&b"one\n"[..], b"two\n", b""].into_iter().enumerate() {
        for writer in &mut writers {
            writer.append(piece).await.expect("written");
            writer.close().await.expect("sent");
        }
        for (source, target) in [("folder", "b1"), ("bucket", "f2"), ("bucket", "b2")] {
            let from = if source == "folder" { in_folder(source) } else { in_bucket(source) };
            let to = if target.starts_with('f') { in_folder(target) } else { in_bucket(target) };
            let copied = copy_all(&Copy::begin(from, to).await.expect("usable")).await;
            let [(_, result)] = &copied[..] else { panic!("{copied:?}") };
            assert_eq!(*result == Copied::Before, pass == 2, "pass {pass} from {source} to {target}: {result:?}");
        }
    }
    let ends: [&dyn LogPort; 3] = [
        &ObjectLogs::new(server.store("b1"), spool.clone(), None),
        &LogFiles::open(root.path().join("f2/logs")).expect("a copy"),
        &ObjectLogs::new(server.store("b2"), spool.clone(), None),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        assert_eq!(end.read(job, &fence, 0, 100).await, Ok(Bytes::from_static(b"one\ntwo\n")), "copy {number}");
    }
}

#[tokio::test]
async fn a_copy_that_broke_off_goes_on_and_what_is_damaged_or_gone_is_told() {
    let (server, root) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    let network = HttpFaults::before(&server.address());
    let files = ArtifactFiles::open(root.path().join("artifacts")).expect("the root is made");
    let mut jobs = Vec::new();
    for content in ["one", "two"] {
        let (job, fence) = (SystemIds.job(), SystemIds.fence());
        let mut staged = files.stage(job, &fence).await.expect("staged");
        let path = "a/b c".parse().expect("a path");
        staged.begin(&path).expect("begun");
        staged.write(content.as_bytes()).expect("written");
        let stored = staged.finish().expect("finished");
        let files = vec![Artifact { path, bytes: stored.bytes, sha256: stored.sha256 }];
        let list = ArtifactList { files, ..ArtifactList::default() };
        staged.publish(list.to_json().into()).await.expect("published");
        jobs.push((job, fence));
    }
    let store = store_at(&network.address(), "x");
    let to = || Board::in_bucket(store.clone(), root.path().to_owned());
    let copy = Copy::begin(Board::in_folder(root.path().to_owned()), to()).await.expect("usable");
    let items: Vec<Item> = copy.items().try_collect().await.expect("all items");
    assert_eq!(copy.copy(&items[0]).await, Ok(Copied::Now(3)));
    network.set(Fault::Down).await;
    let broken = copy.copy(&items[1]).await.expect_err("the target is away").to_string();
    assert!(broken.contains("can't be reached"), "{broken}");
    network.heal().await;
    assert_eq!(copy.copy(&items[0]).await, Ok(Copied::Before));

    let Item::Artifacts(job, fence) = &items[1] else { panic!("{items:?}") };
    let file = root.path().join(format!("artifacts/{job}/{fence}/files/a/b c"));
    let content = std::fs::read(&file).expect("readable");
    std::fs::write(&file, "bad").expect("writable");
    let Ok(Copied::Damaged(why)) = copy.copy(&items[1]).await else { panic!("it is damaged") };
    assert!(why.starts_with("\"a/b c\" has the SHA-256 "), "{why}");
    assert_eq!(copy.is_done(&items[1]).await, Ok(false));
    std::fs::remove_file(&file).expect("writable");
    assert_eq!(copy.copy(&items[1]).await, Ok(Copied::Damaged("its file \"a/b c\" is missing".to_owned())));
    std::fs::write(&file, content).expect("writable");
    assert_eq!(copy.copy(&items[1]).await, Ok(Copied::Now(3)));
    assert_eq!(copy_all(&copy).await.iter().filter(|(_, copied)| *copied == Copied::Before).count(), 2);
    files.delete(*job).await.expect("deleted");
    assert_eq!((copy.copy(&items[1]).await, copy.is_done(&items[1]).await), (Ok(Copied::Gone), Ok(true)));
    // What broke off on the way has left nothing but what the sweep takes.
    server.store("x").sweep(Duration::ZERO).await.expect("swept");
    let keys = server.keys("x/").await;
    assert_eq!(keys.iter().filter(|key| key.starts_with("x/artifacts/")).count(), 4, "{keys:?}");
}
