//! Attacks that take all there is: processes, memory, descriptors, the disk.

use std::time::Duration;

use leadersboard_tests::wait::until_equal;
use serde_json::{Value, json};

use super::{Level, Site, token};

crate::tests!(
    a_fork_bomb_and_a_thread_bomb_stay_within_their_class,
    memory_is_bounded_wherever_it_is_taken,
    the_disk_is_bounded_in_bytes,
    a_file_beyond_the_limit_is_named,
    the_disk_is_bounded_in_files,
    folders_of_any_depth_are_removed,
);

/// Classes with little of everything.
const CLASSES: (&str, &str) = (
    "RESOURCE_CLASSES",
    "small=5m,short=3s:processes=64,few=5m:processes=64,lean=5m:memory=256MiB,tidy=5m:output=16MiB",
);

const BOMBS: &str = include_str!("programs/bombs.py");

async fn explode(site: &Site, class: &str, bomb: &str) -> String {
    site.submit_to(class, BOMBS, &json!({ "bomb": bomb, "token": token("bomb") })).await
}

async fn a_fork_bomb_and_a_thread_bomb_stay_within_their_class(level: Level) {
    let site = Site::new(level, &[CLASSES]).await;
    let endless = explode(&site, "short", "fork bomb").await;
    site.failed(&endless, "timeout").await;
    for bomb in ["forks", "threads"] {
        let job = explode(&site, "few", bomb).await;
        let shown = site.completed(&job).await;
        let count = shown["metrics"]["count"].as_f64().expect("a count");
        let log = site.log(&job).await;
        assert!((8.0..64.0).contains(&count) && log.contains(&format!("{bomb}: denied")), "{bomb}: {count}\n{log}");
    }
    let job = explode(&site, "small", "descriptors").await;
    assert_eq!(site.completed(&job).await["metrics"]["failed"], 0.0);
    let log = site.log(&job).await;
    assert_eq!(log.matches("descriptors: denied EMFILE").count(), 4, "{log}");
    assert!(
        log.lines().all(|line| line.rsplit(' ').next().and_then(|n| n.parse().ok()).is_some_and(|n: u64| n <= 65_536))
    );
    site.unharmed().await;
}

async fn memory_is_bounded_wherever_it_is_taken(level: Level) {
    let site = Site::new(level, &[CLASSES]).await;
    for bomb in ["memory", "memory of many", "shared memory", "folder in shared memory", "unnamed memory"] {
        let job = explode(&site, "lean", bomb).await;
        let shown = site.failed(&job, "oom_host").await;
        assert!(error_of(&shown).contains("256.0 MiB"), "{bomb}: {shown:#}");
    }
    until_equal("what is left in shared memory", Duration::from_secs(10), 0, async || {
        let files = std::fs::read_dir("/dev/shm").expect("it is there").flatten();
        files.filter(|file| file.file_name().to_string_lossy().starts_with(&token("bomb"))).count()
    })
    .await;
    site.unharmed().await;
}

async fn the_disk_is_bounded_in_bytes(level: Level) {
    let site = Site::new(level, &[CLASSES]).await;
    let job = explode(&site, "tidy", "one file").await;
    let shown = site.ended(&job).await;
    let log = site.log(&job).await;
    assert!(log.contains("one file: denied EFBIG"), "{shown:#}\n{log}");
    for place in ["the output", "the temporary folder", "the work directory"] {
        let job = explode(&site, "tidy", &format!("large files in {place}")).await;
        let shown = site.failed(&job, "output_limit").await;
        assert!(error_of(&shown).contains("16.0 MiB"), "{place}: {shown:#}");
    }
    for (hidden, told) in [("removed files", "removed and held open"), ("closed folder", "")] {
        let job = explode(&site, "tidy", hidden).await;
        let shown = site.failed(&job, "output_limit").await;
        assert!(error_of(&shown).contains(told) && !error_of(&shown).contains("largest file"), "{shown:#}");
    }
    site.unharmed().await;
}

async fn a_file_beyond_the_limit_is_named(level: Level) {
    let site = Site::new(level, &[CLASSES]).await;
    let ways = [
        "exception",
        "short write",
        "no metrics",
        "child",
        "signal",
        "extent",
        "tidied up",
        "in shared memory",
        "a limit of its own",
    ];
    let mut jobs = Vec::new();
    for way in ways {
        let bomb = json!({ "bomb": format!("file too large: {way}"), "ways": ways, "token": "" });
        jobs.push((way, site.submit_to("tidy", BOMBS, &bomb).await));
    }
    for (way, job) in jobs {
        let shown = site.failed(&job, "output_limit").await;
        // A file that could not be made so large at once has not grown.
        let begins = match way {
            "extent" | "tidied up" | "in shared memory" | "a limit of its own" => {
                "one of its files could not grow any further: class tidy allows 16.0 MiB, unless the program set a lower \
                 limit itself; main.py"
            }
            _ => "its file output/large reached the 16.0 MiB that class tidy allows; main.py",
        };
        // The worker may look at the disk first, while the file is as large as all together may be: also true.
        let looked = "it wrote more to disk than the 16.0 MiB that class tidy allows; its largest file is output/large";
        let error = error_of(&shown);
        assert!(error.starts_with(begins) || error.starts_with(looked), "{way}: {shown:#}");
    }
    site.unharmed().await;
}

async fn folders_of_any_depth_are_removed(level: Level) {
    let site = Site::new(level, &[CLASSES]).await;
    let job = explode(&site, "small", "deep folders").await;
    site.ended(&job).await;
    site.unharmed().await;
}

async fn the_disk_is_bounded_in_files(level: Level) {
    let site = Site::new(level, &[CLASSES]).await;
    let job = explode(&site, "small", "small files").await;
    let shown = site.failed(&job, "output_limit").await;
    assert!(error_of(&shown).contains("files"), "{shown:#}");
    site.unharmed().await;
}

fn error_of(shown: &Value) -> &str {
    shown["failure"]["error"].as_str().expect("a sentence")
}
