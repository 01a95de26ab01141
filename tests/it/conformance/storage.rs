//! Submissions appear whole or not at all, and archives keep the rules.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use adapters::ids::SystemIds;
use adapters::object::ObjectSubmissions;
use adapters::storage::DirectoryStorage;
use bytes::Bytes;
use events::SubmissionId;
use events::ports::{ArchiveContents, ArchiveLimits, FileName, Ids, Published, StorageError, StoragePort, Suffixes};
use events::submission::ArchiveReading;
use flate2::Compression;
use flate2::write::GzEncoder;
use leadersboard_tests::age::age;
use leadersboard_tests::certificate::Certificate;
use leadersboard_tests::http_faults::{Call, Fault, HttpFaults};
use leadersboard_tests::s3::{S3Server, store_at, store_trusting};
use leadersboard_tests::wait::until;
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;

/// `printf 'print(1)' | sha256sum`
const PRINT_1_SHA256: &str = "d287bb7f9d15abdc5b6e98536263815744b6ef21c8f3c839fc434ca70d8efe99";

struct Bench {
    root: tempfile::TempDir,
    storage: DirectoryStorage,
}

fn bench() -> Bench {
    let root = tempfile::tempdir().expect("a directory");
    let storage = DirectoryStorage::open(root.path().join("uploads")).expect("the root is made");
    Bench { root, storage }
}

/// A name that is taken.
fn name(name: &str) -> FileName {
    FileName::parse(name, &Suffixes::default()).expect("a good name")
}

/// Publishes files as a submission and gives what the archives among them list.
async fn publish(
    storage: &dyn StoragePort,
    files: &[(&str, &[u8])],
) -> Result<(SubmissionId, Vec<String>), StorageError> {
    let (id, contents) = published(storage, files).await?;
    Ok((id, contents.into_iter().flat_map(|contents| contents.paths).collect()))
}

/// Publishes files as a submission and gives what the archives among them hold.
async fn published(
    storage: &dyn StoragePort,
    files: &[(&str, &[u8])],
) -> Result<(SubmissionId, Vec<ArchiveContents>), StorageError> {
    let id = SystemIds.submission();
    let mut staged = storage.stage(id).await?;
    let mut listed = Vec::new();
    for (file, content) in files {
        let name = name(file);
        staged.begin(&name).await?;
        for chunk in content.chunks(1 << 20) {
            staged.write(Bytes::copy_from_slice(chunk)).await?;
        }
        assert_eq!(staged.finish().await?.size, content.len() as u64);
        if name.is_archive() {
            listed.push(staged.read_archive(&name, &ArchiveLimits::default()).await?);
        }
    }
    staged.publish(Bytes::from_static(b"{}")).await?;
    Ok((id, listed))
}

async fn fetch(storage: &dyn StoragePort, id: SubmissionId) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
    fetch_as(storage, id, &[]).await
}

async fn fetch_as(
    storage: &dyn StoragePort,
    id: SubmissionId,
    readings: &[ArchiveReading],
) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
    let into = tempfile::tempdir().expect("a directory");
    storage.fetch(id, into.path(), &ArchiveLimits::default(), readings).await?;
    let mut found = Vec::new();
    collect(into.path(), into.path(), &mut found);
    found.sort();
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            collect(root, &entry.path(), found);
        } else {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            found.push((name, std::fs::read(&path).expect("a file")));
        }
    }
}

fn gz(tar: tar::Builder<GzEncoder<Vec<u8>>>) -> Vec<u8> {
    tar.into_inner().and_then(GzEncoder::finish).expect("an archive")
}

fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(vec![], Compression::best()));
    for (path, content) in entries {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *content).expect("an entry");
    }
    gz(tar)
}

/// A tar whose one entry has this raw name and type, which no honest library would write.
fn raw_tar(name: &[u8], kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(vec![], Compression::best()));
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, content).expect("an entry");
    gz(tar)
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (path, content) in entries {
        zip.start_file(*path, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(content).expect("its content");
    }
    zip.finish().expect("an archive").into_inner()
}

#[tokio::test]
async fn a_submission_appears_whole_when_it_is_published_and_not_before() {
    let bench = bench();
    let storage: &dyn StoragePort = &bench.storage;
    appears_whole(storage).await;
    let mut broken = storage.stage(SystemIds.submission()).await.expect("staged");
    broken.begin(&name("main.py")).await.expect("begun");
    drop(broken);
    let left: Vec<_> = std::fs::read_dir(bench.root.path().join("uploads/.staging")).expect("staging").collect();
    assert!(left.is_empty(), "a broken upload left {left:?}");
}

async fn appears_whole(storage: &dyn StoragePort) {
    let id = SystemIds.submission();
    let name = name("main.py");
    let mut staged = storage.stage(id).await.expect("staged");
    staged.begin(&name).await.expect("begun");
    staged.write(Bytes::from_static(b"print(1)")).await.expect("written");
    let file = staged.finish().await.expect("finished");
    assert_eq!((file.size, file.sha256.as_str()), (8, PRINT_1_SHA256));
    assert!(matches!(fetch(storage, id).await, Err(StorageError::Missing(_))));
    staged.publish(Bytes::from_static(b"{\"a\":1}")).await.expect("published");
    assert_eq!(fetch(storage, id).await.expect("fetched"), [("main.py".to_owned(), b"print(1)".to_vec())]);
    assert_eq!(storage.metadata(id).await.expect("metadata"), "{\"a\":1}");
    storage.delete(id).await.expect("deleted");
    storage.delete(id).await.expect("twice is no error");
    assert!(matches!(storage.metadata(id).await, Err(StorageError::Missing(_))));
    storage.probe().await.expect("writable");
}

#[tokio::test]
async fn good_archives_are_unpacked_with_their_names_as_stored() {
    unpacks(&bench().storage).await;
}

async fn unpacks(storage: &dyn StoragePort) {
    let long = format!("{}/{}.txt", "d".repeat(90), "f".repeat(120));
    let tar = tar_gz(&[("./main.py", b"1"), ("pkg/__init__.py", b""), (&long, b"long")]);
    let zipped = zip(&[("data/a.csv", b"1,2"), ("data/zo\u{eb}.csv", b"3,4")]);
    let files: [(&str, &[u8]); 3] = [("code.tar.gz", &tar), ("data.zip", &zipped), ("config.yaml", b"a: 1")];
    let (id, mut listed) = publish(storage, &files).await.expect("published");
    listed.sort();
    let mut all = vec!["data/a.csv", "data/zo\u{eb}.csv", &long, "main.py", "pkg/__init__.py"];
    all.sort_unstable();
    assert_eq!(listed, all);
    let fetched: Vec<String> = fetch(storage, id).await.expect("fetched").into_iter().map(|(name, _)| name).collect();
    all.push("config.yaml");
    all.sort_unstable();
    assert_eq!(fetched, all);
}

#[tokio::test]
async fn every_hostile_archive_is_refused_by_name_when_listed_and_when_fetched() {
    let many: Vec<(String, Vec<u8>)> = (0..10_001).map(|n| (format!("f{n}"), vec![])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let deep = format!("{}x", "d/".repeat(40));
    let zeros = vec![0_u8; 101 << 20];
    let mut link = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    link.add_symlink("main.py", "/etc/passwd", SimpleFileOptions::default()).expect("an entry");
    let link = link.finish().expect("an archive").into_inner();
    let tar = tar_gz(&[("a.py", b"print(1)")]);
    let zipped = zip(&[("a.py", b"print(1)")]);
    let mut stored = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    stored.start_file("a.py", options).expect("an entry");
    stored.write_all(b"print(1)").expect("its content");
    let stored_zip = stored.finish().expect("an archive").into_inner();
    let stored_at = stored_zip.windows(5).position(|window| window == b"print").expect("its content");
    let pax = |record: &str| {
        let mut tar = tar::Builder::new(GzEncoder::new(vec![], Compression::best()));
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_path("pax").expect("a path");
        header.set_size(record.len() as u64);
        header.set_cksum();
        tar.append(&header, record.as_bytes()).expect("an entry");
        let mut header = Header::new_ustar();
        header.set_path("a.py").expect("a path");
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, &[][..]).expect("an entry");
        gz(tar)
    };
    let cases: Vec<(&str, &str, Vec<u8>, &str)> = vec![
        ("a symbolic link", "x.tar.gz", raw_tar(b"main.py", EntryType::Symlink, b""), "symbolic link"),
        ("a hard link", "x.tar.gz", raw_tar(b"main.py", EntryType::Link, b""), "hard link"),
        ("a device", "x.tar.gz", raw_tar(b"null", EntryType::Char, b""), "device"),
        ("a fifo", "x.tar.gz", raw_tar(b"pipe", EntryType::Fifo, b""), "fifo"),
        ("an absolute path", "x.tar.gz", raw_tar(b"/etc/cron.d/x", EntryType::Regular, b"x"), "absolute"),
        ("a path above", "x.tar.gz", raw_tar(b"../../x", EntryType::Regular, b"x"), ".."),
        ("a path above, as Windows has it", "x.tar.gz", raw_tar(b"..\\x", EntryType::Regular, b"x"), ".."),
        ("a drive", "x.tar.gz", raw_tar(b"C:\\x", EntryType::Regular, b"x"), "absolute"),
        ("a path above in a pax header", "x.tar.gz", pax("19 path=../../evil\n"), ".."),
        ("a size in a pax header", "x.tar.gz", pax("11 size=99\n"), "size"),
        ("one name twice", "x.tar.gz", tar_gz(&[("a", b"1"), ("a", b"2")]), "twice"),
        ("a file that is a folder", "x.tar.gz", tar_gz(&[("a", b"1"), ("a/b", b"2")]), "both a file and a folder"),
        ("a folder that is a file", "x.tar.gz", tar_gz(&[("a/b", b"1"), ("a", b"2")]), "both a file and a folder"),
        ("too many entries", "x.tar.gz", tar_gz(&many), "more than 10000 entries"),
        ("too many entries in a zip", "x.zip", zip(&many), "more than 10000 entries"),
        ("too deep", "x.tar.gz", tar_gz(&[(&deep, b"1")]), "nested deeper"),
        ("a bomb", "x.tar.gz", tar_gz(&[("zeros", &zeros)]), "bomb"),
        ("a link in a zip", "x.zip", link, "symbolic link"),
        ("a path above in a zip", "x.zip", zip(&[("../x", b"1")]), ".."),
        ("half a tar", "x.tar.gz", tar[..tar.len() / 2].to_vec(), "is damaged"),
        ("half a zip", "x.zip", zipped[..zipped.len() / 2].to_vec(), "not a zip"),
        ("no archive at all", "x.tar.gz", b"hello".to_vec(), "is not a .tar.gz"),
        ("an empty zip file", "x.zip", vec![], "not a zip"),
        ("an empty tar file", "x.tar.gz", vec![], "not a .tar.gz"),
        ("bytes behind a tar", "x.tar.gz", [&tar[..], b"garbage"].concat(), "behind its end"),
        ("an entry without a name", "x.tar.gz", raw_tar(b"", EntryType::Regular, b"x"), "without a name"),
        ("an end without entries behind a zip", "x.zip", [&zipped[..], NO_ENTRIES].concat(), "without entries"),
        ("a tar behind an empty one", "x.tar.gz", [&tar_gz(&[])[..], &tar].concat(), "ends before its first entry"),
        ("a wrong sum of a tar", "x.tar.gz", flipped(&tar, tar.len() - 8), "is damaged"),
        ("a damaged entry", "x.zip", flipped(&stored_zip, stored_at), "entry \"a.py\" can't be read"),
    ];
    let bench = bench();
    for (what, name, content, culprit) in cases {
        let listed = publish(&bench.storage, &[(name, &content)]).await;
        let Err(StorageError::Refused(sentence)) = listed else { panic!("{what}: {listed:?}") };
        assert!(sentence.contains(culprit) && sentence.contains(name), "{what}: {sentence}");

        // Whoever put it into storage past the listing gains nothing: it is not unpacked either.
        let id = SystemIds.submission();
        let folder = bench.root.path().join("uploads").join(id.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join(name), &content).expect("a file");
        let fetched = fetch(&bench.storage, id).await;
        assert!(matches!(fetched, Err(StorageError::Refused(_))), "{what}: {fetched:?}");
    }
}

/// The end of a zip without entries.
const NO_ENTRIES: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// With one bit turned.
fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[tokio::test]
async fn tightly_packed_data_is_taken() {
    let bench = bench();
    let zeros = vec![0_u8; 4 << 20];
    let masks: Vec<String> = (0..20).map(|number| format!("masks/{number}.npy")).collect();
    let masks: Vec<(&str, &[u8])> = masks.iter().map(|name| (name.as_str(), zeros.as_slice())).collect();
    let (tar, zipped) = (tar_gz(&[("zeros.npy", &zeros)]), zip(&masks));
    let (_, listed) = publish(&bench.storage, &[("a.tar.gz", &tar), ("b.zip", &zipped)]).await.expect("published");
    assert_eq!(listed.len(), 21);
}

#[tokio::test]
async fn each_archive_counts_its_own_entries_and_a_submission_all_of_them() {
    let bench = bench();
    let many: Vec<String> = (0..9_000).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let tar = tar_gz(&many);
    let names: Vec<String> = (0..6).map(|number| format!("{number}.tar.gz")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), tar.as_slice())).collect();
    let (_, listed) = publish(&bench.storage, &files[..5]).await.expect("published");
    assert_eq!(listed.len(), 45_000);
    let refused = publish(&bench.storage, &files).await;
    let Err(StorageError::Refused(sentence)) = refused else { panic!("{refused:?}") };
    assert!(sentence.contains("\"5.tar.gz\"") && sentence.contains("50000 entries in all"), "{sentence}");
}

#[tokio::test]
async fn what_an_archive_has_beside_its_entries_is_told() {
    let bench = bench();
    let (tar, zipped) = (tar_gz(&[("a", b"1")]), zip(&[("a", b"1")]));
    let (behind, before) = (Some("behind its end"), Some("before its beginning"));
    for (name, bytes, wanted) in [
        ("x.tar.gz", tar.clone(), None),
        ("x.zip", zipped.clone(), None),
        ("x.tar.gz", [&tar[..], &[0; 512]].concat(), None),
        ("x.tar.gz", [tar.clone(), tar_gz(&[("b", b"2")])].concat(), behind),
        ("x.zip", [zip(&[("b", b"2")]), zipped.clone()].concat(), before),
        ("x.zip", [b"#!/bin/sh\n", &zipped[..]].concat(), before),
        ("x.zip", [&zipped[..], b"garbage"].concat(), behind),
    ] {
        let (_, contents) = published(&bench.storage, &[(name, &bytes)]).await.expect("published");
        assert_eq!((contents[0].paths.as_slice(), contents[0].ignored), (&["a".to_owned()][..], wanted), "{name}");
    }
}

#[tokio::test]
async fn an_archive_is_unpacked_as_it_was_read_at_the_upload() {
    let bench = bench();
    // As Windows writes it in Japan, with what macOS adds.
    let mut tar = tar::Builder::new(GzEncoder::new(vec![], Compression::best()));
    let resource = [&[0, 5, 0x16, 7][..], b"attributes"].concat();
    let entries: [(&[u8], &[u8]); 5] = [
        (b"proj\\\x95\x5c.csv", b"1"),
        (b"proj\\main.py", b"2"),
        (b"proj/.DS_Store", b"3"),
        (b"__MACOSX/proj/._main.py", b"4"),
        (b"._proj", &resource),
    ];
    for (name, content) in entries {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, content).expect("an entry");
    }
    let tar = gz(tar);
    let (id, contents) = published(&bench.storage, &[("a.tar.gz", &tar)]).await.expect("published");
    let contents = &contents[0];
    assert_eq!(contents.paths, ["proj/表.csv", "proj/main.py"]);
    assert_eq!(contents.top_folder.as_deref(), Some("proj"));
    assert_eq!((contents.encoding.as_deref(), contents.renamed), (Some("Shift_JIS"), 2));
    let reading = |root: &str| ArchiveReading {
        archive: "a.tar.gz".to_owned(),
        root: Some(root.to_owned()),
        encoding: contents.encoding.clone(),
    };
    let fetched = fetch_as(&bench.storage, id, &[reading("proj")]).await.expect("fetched");
    assert_eq!(fetched, [("main.py".to_owned(), b"2".to_vec()), ("表.csv".to_owned(), b"1".to_vec())]);
    for wrong in [vec![], vec![reading("pro")]] {
        let refused = fetch_as(&bench.storage, id, &wrong).await;
        assert!(matches!(refused, Err(StorageError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn two_sources_of_one_path_are_never_mixed() {
    let bench = bench();
    let tar = tar_gz(&[("main.py", b"2")]);
    let (id, _) = publish(&bench.storage, &[("main.py", b"1"), ("x.tar.gz", &tar)]).await.expect("storage takes both");
    let fetched = fetch(&bench.storage, id).await;
    assert!(matches!(fetched, Err(StorageError::Refused(_))), "{fetched:?}");
}

#[tokio::test]
async fn there_is_a_disk_and_it_has_room() {
    let room = bench().storage.room().await.expect("an answer");
    assert!(room.total_bytes > 1 << 20 && room.free_bytes <= room.total_bytes, "{room:?}");
}

#[tokio::test]
async fn what_is_published_is_found_page_by_page_once_it_is_old_enough() {
    let bench = bench();
    let one = bench.storage.clone().of_board("one").expect("its name");
    let storage: &dyn StoragePort = &one;
    let ids = finds_page_by_page(storage).await;
    let (hour, none) = (Duration::from_hours(1), Duration::ZERO);
    age(&bench.root.path().join("uploads").join(ids[4].to_string()), 2 * hour);
    assert_eq!(storage.published(None, 10, hour).await.expect("a page").ids, [ids[4]]);

    // What one board has no record of may be another's.
    let two = bench.storage.clone().of_board("two").expect("its name");
    for board in [&one, &two] {
        assert_eq!(board.published(None, 10, none).await.expect("a page").ids, []);
    }
}

async fn finds_page_by_page(storage: &dyn StoragePort) -> Vec<SubmissionId> {
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(publish(storage, &[("main.py", b"1")]).await.expect("published").0);
    }
    ids.sort();
    let (hour, none) = (Duration::from_hours(1), Duration::ZERO);
    let young = storage.published(None, 10, hour).await.expect("a page");
    assert_eq!(young, Published { ids: vec![], next: None });
    let (mut found, mut after, mut pages) = (vec![], None, 0);
    loop {
        let page = storage.published(after, 3, none).await.expect("a page");
        assert!(page.ids.len() <= 3);
        found.extend(page.ids);
        (after, pages) = (page.next, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (ids.clone(), 3));
    ids
}

#[tokio::test]
async fn submissions_in_a_bucket() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    let open = async |prefix: &str, board: &str| {
        ObjectSubmissions::new(server.store(prefix), spool.path().to_owned()).of_board(board).await.expect("a bucket")
    };
    let storage = open("a b/\u{e9}", "one").await;
    appears_whole(&storage).await;
    unpacks(&storage).await;
    let room = storage.room().await.expect("an answer");
    assert!(room.total_bytes == 0 && !room.is_scarce(), "nothing is known of it");

    let pages = open("pages", "one").await;
    finds_page_by_page(&pages).await;
    open("pages", "two").await;
    let shared = open("pages", "one").await;
    assert_eq!(shared.published(None, 10, Duration::ZERO).await.expect("a page").ids, []);

    // What is dropped or crashed on the way is no submission, and goes.
    let before = server.keys("").await;
    let large = Bytes::from(vec![7; 9 << 20]);
    let broken = async |id| {
        let mut broken = storage.stage(id).await.expect("staged");
        broken.begin(&name("small.py")).await.expect("begun");
        broken.write(Bytes::from_static(b"1")).await.expect("written");
        broken.finish().await.expect("finished");
        broken.begin(&name("large.py")).await.expect("begun");
        broken.write(large.clone()).await.expect("written");
        broken
    };
    let id = SystemIds.submission();
    drop(broken(id).await);
    until("what was dropped is gone", Duration::from_secs(20), async || {
        (server.keys("").await == before && server.unfinished().await == 0).then_some(())
    })
    .await;
    std::mem::forget(broken(id).await);
    let found = storage.published(None, 100, Duration::ZERO).await.expect("a page").ids;
    assert!(!found.contains(&id) && matches!(fetch(&storage, id).await, Err(StorageError::Missing(_))));
    storage.remove_stale().await.expect("swept");
    assert_eq!(server.unfinished().await, 1, "it may be under way");
    server.store("a b/\u{e9}").sweep(Duration::ZERO).await.expect("swept");
    assert_eq!((server.keys("").await, server.unfinished().await), (before, 0));

    // Names that servers, XML and addresses read in ways of their own.
    let names = [
        " a.py",
        "a .py",
        "a+b%20&<>#?;=.py",
        "zoe\u{308}.py",
        "zo\u{eb}.py",
        "\u{ffff}\u{202e}.py",
        "\u{1f600}'\".py",
    ];
    let longest = format!("{}.py", "\u{e9}".repeat(126));
    let mut odd: Vec<_> = names.into_iter().chain([longest.as_str()]).map(|name| (name, name.as_bytes())).collect();
    let (id, _) = publish(&storage, &odd).await.expect("published");
    odd.sort_unstable();
    let odd: Vec<_> = odd.into_iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    assert_eq!(fetch(&storage, id).await.expect("fetched"), odd);

    // The files of two large uploads arrive as they were sent.
    let files: [(&str, &[u8]); 2] = [("a.py", &large), ("b.py", &large[..large.len() - 1])];
    let (id, _) = publish(&storage, &files).await.expect("published");
    let fetched = fetch(&storage, id).await.expect("fetched");
    assert!(fetched == files.map(|(name, content)| (name.to_owned(), content.to_vec())));
}

#[tokio::test]
async fn a_bucket_whose_answers_are_lost_or_that_is_away() {
    let (server, spool) = (S3Server::start().await, tempfile::tempdir().expect("a directory"));
    let network = HttpFaults::before(&server.address());
    let store = store_at(&network.address(), "x");
    store.check().await.expect("usable");
    let storage = ObjectSubmissions::new(store, spool.path().to_owned());
    let (id, _) = publish(&storage, &[("main.py", b"1")]).await.expect("published");
    network.set(Fault::Down).await;
    let away = storage.metadata(id).await.expect_err("it is away");
    let StorageError::Away(why) = &away else { panic!("{away:?}") };
    assert!(why.to_string().contains("can't be reached") && !format!("{why:#}").contains("secret"), "{why:#}");
    assert!(matches!(storage.stage(SystemIds.submission()).await, Err(StorageError::Away(_))));
    network.heal().await;
    assert_eq!(fetch(&storage, id).await.expect("fetched").len(), 1);

    // The manifest is written, and nobody learns of it: neither a half submission nor a note stays.
    let mut staged = storage.stage(SystemIds.submission()).await.expect("staged");
    staged.begin(&name("main.py")).await.expect("begun");
    staged.finish().await.expect("finished");
    network.set(Fault::LoseAnswer(Call::Other)).await;
    staged.publish(Bytes::from_static(b"{}")).await.expect_err("no answer");
    network.heal().await;
    until("the upload is gone", Duration::from_mins(1), async || {
        server.store("x").sweep(Duration::ZERO).await.expect("swept");
        let keys = server.keys("x/submissions").await;
        (keys.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bucket_behind_a_certificate_of_an_authority_of_ones_own() {
    let (server, certificate) = (S3Server::start().await, Certificate::new());
    let network = HttpFaults::before_with_tls(&server.address(), &certificate);
    let unknown = store_at(&network.address(), "").check().await.expect_err("nobody knows it").to_string();
    assert!(unknown.contains("can't be reached") && unknown.to_lowercase().contains("certificate"), "{unknown}");
    store_trusting(&network.address(), "", Some(&certificate.authority())).check().await.expect("usable");
    assert_eq!(server.keys("").await, Vec::<String>::new(), "a check leaves nothing");
}

#[tokio::test]
async fn what_was_published_before_boards_left_their_names_is_nobodys_to_sweep() {
    let bench = bench();
    publish(&bench.storage, &[("main.py", b"1")]).await.expect("published");
    let board = bench.storage.clone().of_board("one").expect("its name");
    assert_eq!(board.published(None, 10, Duration::ZERO).await.expect("a page").ids, []);
}

#[tokio::test]
async fn what_a_broken_upload_left_is_removed_a_day_later_and_not_before() {
    let bench = bench();
    let storage: &dyn StoragePort = &bench.storage;
    let left = ["old", "young"].map(|name| bench.root.path().join("uploads/.staging").join(name));
    for folder in &left {
        std::fs::create_dir(folder).expect("a folder");
    }
    age(&left[0], Duration::from_hours(25));
    storage.remove_stale().await.expect("swept");
    assert_eq!(left.map(|folder| folder.exists()), [false, true]);
}
