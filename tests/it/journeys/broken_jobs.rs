//! Jobs that fail: each with its own kind and a sentence its author can act on.

use leadersboard_tests::board::{ALICE, Board, repository};
use leadersboard_tests::client::{Client, with_file};
use serde_json::json;

use super::{all_is_well, processes_of};

#[tokio::test]
async fn each_broken_example_fails_with_its_own_kind() {
    let board = Board::start(&[("RESOURCE_CLASSES", "small=30m,tiny=2s")]).await;
    let cases = [
        ("exits_1", "small", "nonzero_exit", "FileNotFoundError: data/train.csv"),
        ("no_metrics", "small", "missing_metrics", "left no metrics.json"),
        ("bad_metrics", "small", "invalid_metrics", "metrics.loss is NaN"),
        ("too_slow", "tiny", "timeout", "ran longer than the 2 s that class tiny allows"),
    ];
    for (name, class, kind, words) in cases {
        let folder = repository().join("examples/broken").join(name);
        let ended = board.run(["submit", "--json", "--watch", "--class", class, &folder.display().to_string()]);
        assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        let failure = &ended.json()["failure"];
        assert_eq!(failure["kind"], kind, "{name}: {failure}");
        let error = failure["error"].as_str().expect("a sentence");
        assert!(error.contains(words), "{name}: {error}");
    }
    let folded = all_is_well(&board).await;
    assert!(folded.stories.values().all(|story| *story == ["job.enqueued", "job.started", "job.failed"]));
    assert_eq!(processes_of(&board), Vec::<String>::new());
}

#[tokio::test]
async fn a_signal_of_its_own_is_named() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run("import os\nos.kill(os.getpid(), 11)\n").await;
    let shown = alice.wait_for(&job, "failed").await;
    assert_eq!(shown["failure"]["kind"], "signal");
    assert!(shown["error"].as_str().expect("a sentence").contains("SIGSEGV"), "{shown}");
    all_is_well(&board).await;
}

#[tokio::test]
async fn nothing_of_a_job_outlives_it_not_even_what_left_its_process_group() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let program =
        "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300'])\nsubprocess.Popen(['sleep', '300'])\n";
    let job = alice.run(program).await;
    alice.wait_for(&job, "failed").await;
    assert_eq!(processes_of(&board), Vec::<String>::new());
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_sees_no_secret_of_the_platform() {
    let board = Board::start(&[("LEADERSBOARD_TOKEN", "a-secret-of-the-server")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run("import os\nfor key, value in os.environ.items(): print(key, value)\n").await;
    alice.wait_for(&job, "failed").await;
    let log = alice.get(&format!("/jobs/{job}/logs")).await.body["logs"].as_str().expect("a log").to_owned();
    assert!(log.contains("PYTHONUNBUFFERED 1"), "{log}");
    let url = board.redis_url();
    let password = url.rsplit('=').next().expect("a password");
    for secret in ["a-secret-of-the-server", ALICE, password, "API_TOKENS", "redis"] {
        assert!(!log.contains(secret), "{secret} is in the job's environment:\n{log}");
    }
}

#[tokio::test]
async fn an_archive_is_unpacked_at_the_root_and_its_entrypoint_is_found_in_it() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let program = "import json, sys, pkg.value\nout = sys.argv[sys.argv.index('--output') + 1]\n\
                   json.dump({'params': {}, 'metrics': {'v': pkg.value.V}}, open(out + '/metrics.json', 'w'))\n";
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(vec![], flate2::Compression::fast()));
    for (path, content) in [("src/main.py", program), ("src/pkg/value.py", "V = 42\n"), ("notes.txt", "")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_bytes()).expect("an entry");
    }
    let bytes = archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
    let form = with_file("code.tar.gz", bytes.clone());
    let refused = alice.upload(form).await;
    assert_eq!(refused.status, 400);
    assert!(refused.detail().contains("src/main.py"), "the candidates are named: {}", refused.detail());
    let uploaded = alice.upload(with_file("code.tar.gz", bytes).text("entrypoint", "src/main.py")).await;
    assert_eq!(uploaded.status, 201, "{uploaded:?}");
    let job = alice.enqueue(uploaded.body["submission_id"].as_str().expect("an id"), json!({})).await;
    assert_eq!(alice.wait_for(&job, "completed").await["metrics"], json!({ "v": 42.0 }));
    all_is_well(&board).await;
}
