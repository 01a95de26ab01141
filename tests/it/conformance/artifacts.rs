//! What a run left appears whole when it is published and not before, apart from what every other run left.

use std::path::Path;
use std::time::Duration;

use adapters::artifact_files::ArtifactFiles;
use adapters::ids::SystemIds;
use adapters::object::ObjectArtifacts;
use bytes::Bytes;
use events::ports::{ArtifactPort, Ids, StagedArtifacts};
use events::{ArtifactPath, Fence, JobId};
use leadersboard_tests::age::age;
use leadersboard_tests::s3::S3Server;
use leadersboard_tests::wait::until;
use tokio::task::spawn_blocking;

/// `printf hello | sha256sum`, `printf '{}' | sha256sum`
const HELLO_SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const BRACES_SHA256: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn path(text: &str) -> ArtifactPath {
    text.parse().expect("a path")
}

async fn stage(port: &dyn ArtifactPort, job: JobId, fence: &Fence, files: &[(&str, &str)]) -> Box<dyn StagedArtifacts> {
    let staged = port.stage(job, fence).await.expect("staged");
    let files: Vec<_> = files.iter().map(|(name, content)| (path(name), (*content).to_owned())).collect();
    blocking(staged, move |staged| {
        for (path, content) in &files {
            staged.begin(path).expect("begun");
            for byte in content.as_bytes() {
                staged.write(&[*byte]).expect("written");
            }
            assert_eq!(staged.finish().expect("finished").bytes, content.len() as u64);
        }
    })
    .await
}

/// What blocks is done on a thread that may be blocked.
async fn blocking(
    mut staged: Box<dyn StagedArtifacts>,
    work: impl FnOnce(&mut dyn StagedArtifacts) + Send + 'static,
) -> Box<dyn StagedArtifacts> {
    let done = spawn_blocking(move || {
        work(&mut *staged);
        staged
    });
    done.await.expect("done")
}

async fn read(port: &dyn ArtifactPort, job: JobId, fence: &Fence, name: &str, offset: u64) -> Option<String> {
    let mut reader = port.open(job, fence, &path(name), offset).await.expect("opened")?;
    let mut content = Vec::new();
    loop {
        let piece = reader.read(3).await.expect("read");
        assert!(piece.len() <= 3);
        if piece.is_empty() {
            return Some(String::from_utf8(content).expect("a text"));
        }
        content.extend_from_slice(&piece);
    }
}

async fn conforms(port: &dyn ArtifactPort) {
    let (job, first, second) = (SystemIds.job(), SystemIds.fence(), SystemIds.fence());
    assert_eq!(port.list(job, &first).await, Ok(None));
    assert_eq!(read(port, job, &first, "a/b", 0).await, None);

    let staged = stage(port, job, &first, &[("a/b", "hello"), ("a/c/d", ""), ("x y \u{e9}", "1")]).await;
    let staged = blocking(staged, |staged| {
        staged.begin(&path("a/given_up")).expect("begun");
        staged.write(b"half").expect("written");
        staged.discard().expect("given up");
        staged.begin(&path("a/again")).expect("begun");
        staged.write(b"hello").expect("written");
        assert_eq!(staged.finish().expect("finished").sha256, HELLO_SHA256);
    });
    let staged = staged.await;
    assert_eq!(port.list(job, &first).await, Ok(None), "not before it is published");
    assert_eq!(read(port, job, &first, "a/b", 0).await, None);
    let digest = staged.publish(Bytes::from_static(b"{}")).await.expect("published");
    assert_eq!(digest, BRACES_SHA256);
    assert_eq!(port.list(job, &first).await, Ok(Some(Bytes::from_static(b"{}"))));
    for (name, content) in [("a/b", "hello"), ("a/c/d", ""), ("x y \u{e9}", "1"), ("a/again", "hello")] {
        assert_eq!(read(port, job, &first, name, 0).await.as_deref(), Some(content), "{name}");
    }
    assert_eq!(read(port, job, &first, "a/b", 3).await.as_deref(), Some("lo"));
    assert_eq!(read(port, job, &first, "a/b", 99).await.as_deref(), Some(""), "past the end");
    for nothing in ["a/given_up", "a/b/c", "b"] {
        assert_eq!(read(port, job, &first, nothing, 0).await, None, "{nothing}");
    }

    let other = stage(port, job, &second, &[("a/b", "other")]).await;
    other.publish(Bytes::from_static(b"[]")).await.expect("published");
    assert_eq!(read(port, job, &first, "a/b", 0).await.as_deref(), Some("hello"), "runs are apart");
    assert_eq!(read(port, job, &second, "a/c/d", 0).await, None);

    // A store whose answer was lost is done again.
    let again = stage(port, job, &second, &[("z", "again")]).await;
    again.publish(Bytes::from_static(b"[1]")).await.expect("published");
    assert_eq!(port.list(job, &second).await, Ok(Some(Bytes::from_static(b"[1]"))));
    assert_eq!(read(port, job, &second, "a/b", 0).await, None, "it is replaced, not mixed");

    let kept = SystemIds.job();
    stage(port, kept, &first, &[("k", "kept")]).await.publish(Bytes::new()).await.expect("published");
    port.delete(job).await.expect("deleted");
    port.delete(job).await.expect("twice is no error");
    for run in [&first, &second] {
        assert_eq!(port.list(job, run).await, Ok(None), "those of every run are gone");
    }
    assert_eq!(read(port, kept, &first, "k", 0).await.as_deref(), Some("kept"), "those of another job are not");
}

fn in_staging(root: &Path) -> usize {
    std::fs::read_dir(root.join(".staging")).expect("staging").count()
}

#[tokio::test]
async fn artifact_files() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path().join("artifacts");
    let files = ArtifactFiles::open(root.clone()).expect("the root is made");
    conforms(&files).await;
    assert_eq!(in_staging(&root), 0);
    let dropped = stage(&files, SystemIds.job(), &SystemIds.fence(), &[("a", "1")]).await;
    assert_eq!(in_staging(&root), 1);
    drop(dropped);
    assert_eq!(in_staging(&root), 0, "what is dropped leaves nothing");
}

#[tokio::test]
async fn artifacts_in_a_bucket() {
    let server = S3Server::start().await;
    conforms(&ObjectArtifacts::new(server.store("a"))).await;
    let left: Vec<_> = server.keys("a/").await;
    assert_eq!(left.len(), 2, "a manifest and a file, and no note of what is finished: {left:?}");

    // A long path with what URLs and XML give a meaning, and a file of several parts.
    let artifacts = ObjectArtifacts::new(server.store("a/b c"));
    let (job, fence) = (SystemIds.job(), SystemIds.fence());
    let odd = format!("{}/100% <&> #?+ \u{e9}\u{301}", ["x".repeat(250), "y".repeat(250), "z".repeat(250)].join("/"));
    let large: String = (b'a'..=b'w').map(char::from).cycle().take(4_000_000).collect();
    let staged = artifacts.stage(job, &fence).await.expect("staged");
    let (odd_path, part) = (path(&odd), large.clone());
    let staged = blocking(staged, move |staged| {
        for path in [odd_path, path("large")] {
            staged.begin(&path).expect("begun");
            for _ in 0..5 {
                staged.write(part.as_bytes()).expect("written");
            }
            assert_eq!(staged.finish().expect("finished").bytes, 20_000_000);
        }
    });
    staged.await.publish(Bytes::from_static(b"{}")).await.expect("published");
    for name in [odd.as_str(), "large"] {
        let mut reader = artifacts.open(job, &fence, &path(name), 11_999_998).await.expect("opened").expect("there");
        assert_eq!(reader.read(4).await.expect("read")[..2], large.as_bytes()[3_999_998..]);
    }
    assert_eq!(server.unfinished().await, 0);

    // What is dropped leaves nothing, nor does what a crash leaves once it is old.
    let before = server.keys("").await;
    let dropped = artifacts.stage(job, &SystemIds.fence()).await.expect("staged");
    let part = large.clone();
    let fill = move |staged: &mut dyn StagedArtifacts| {
        staged.begin(&path("small")).expect("begun");
        staged.write(b"small").expect("written");
        staged.finish().expect("finished");
        staged.begin(&path("large")).expect("begun");
        for _ in 0..5 {
            staged.write(part.as_bytes()).expect("written");
        }
    };
    let dropped = blocking(dropped, fill.clone()).await;
    assert_eq!(server.unfinished().await, 1);
    drop(dropped);
    until("what was dropped is gone", Duration::from_secs(20), async || {
        (server.keys("").await == before && server.unfinished().await == 0).then_some(())
    })
    .await;
    let crashed = artifacts.stage(job, &SystemIds.fence()).await.expect("staged");
    std::mem::forget(blocking(crashed, fill).await);
    let store = server.store("a/b c");
    store.sweep(Duration::from_hours(24)).await.expect("swept");
    assert_eq!(server.unfinished().await, 1, "it may be under way");
    store.sweep(Duration::ZERO).await.expect("swept");
    assert_eq!((server.keys("").await, server.unfinished().await), (before, 0));
    assert_eq!(artifacts.list(job, &fence).await, Ok(Some(Bytes::from_static(b"{}"))), "what is published stays");
}

#[tokio::test]
async fn more_files_than_are_synced_at_once() {
    let root = tempfile::tempdir().expect("a directory");
    let files = ArtifactFiles::open(root.path().join("artifacts")).expect("the root is made");
    let (job, fence) = (SystemIds.job(), SystemIds.fence());
    let names: Vec<String> = (0..300).map(|number| format!("{}/{number}", number % 3)).collect();
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    stage(&files, job, &fence, &all).await.publish(Bytes::new()).await.expect("published");
    for name in &names {
        assert_eq!(read(&files, job, &fence, name, 0).await.as_ref(), Some(name));
    }
}

#[tokio::test]
async fn what_a_broken_store_left_is_removed_a_day_later_and_not_before() {
    let root = tempfile::tempdir().expect("a directory");
    let files = ArtifactFiles::open(root.path().to_owned()).expect("the root is made");
    let left = ["old", "young"].map(|name| root.path().join(".staging").join(name));
    for folder in &left {
        std::fs::create_dir(folder).expect("a folder");
    }
    age(&left[0], Duration::from_hours(25));
    files.remove_stale().await.expect("swept");
    assert_eq!(left.map(|folder| folder.exists()), [false, true]);
}
