//! The command line, as README shows it.

use std::process::Stdio;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, Finished, Process, command, repository};
use leadersboard_tests::client::Client;
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::all_is_well;

#[tokio::test]
async fn submit_and_look_as_the_readme_shows() {
    let board = Board::start(&[]).await;
    // Whoever runs on the same machine needs no address and no token.
    let run =
        |arguments: &[&str]| Finished::of(command(board.data()).args(arguments).output().expect("the binary runs"));
    let quickstart = repository().join("examples/quickstart").display().to_string();
    let dry = run(&["submit", "--dry-run", "--json", &quickstart]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert_eq!(run(&["jobs", "list", "--json"]).json()["jobs"], json!([]), "a dry run sends nothing");

    let watched = run(&["submit", &quickstart, "--watch"]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.stdout.contains("epoch 20/20") && watched.stdout.contains("image_auc"), "{}", watched.stdout);

    let running = |watched: &Finished| watched.stderr.lines().filter(|line| line.starts_with("running on ")).count();
    assert_eq!(running(&watched), 1, "one line stays and says where the job runs: {}", watched.stderr);

    let listed = run(&["jobs", "list", "--json"]).json();
    let job = listed["jobs"][0]["job_id"].as_str().expect("an id");
    assert!(run(&["jobs", "show", job]).stdout.contains("completed"));
    assert!(run(&["jobs", "logs", job, "--tail", "1"]).stdout.starts_with("epoch 20/20"));
    assert!(run(&["jobs", "history", job]).stdout.contains("job.completed"));
    assert_eq!(run(&["jobs", "events", job]), run(&["jobs", "history", job]), "its older name");
    assert_eq!(run(&["jobs", "history", job, "--json"]).json()["events"][0]["type"], "job.enqueued");

    let watched = run(&["jobs", "watch", job]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.stdout.contains("epoch 20/20") && watched.stdout.contains("image_auc"), "{}", watched.stdout);
    assert_eq!(running(&watched), 0, "nothing begins any more: {}", watched.stderr);
    assert_eq!(run(&["jobs", "watch", job, "--json"]).json()["status"], "completed");

    let unknown = run(&["jobs", "show", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert_eq!(run(&["jobs", "watch", "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5"]).code, Some(2));
    let wrong_class = run(&["submit", &quickstart, "--class", "huge"]);
    assert_eq!(wrong_class.code, Some(2));
    assert!(wrong_class.stderr.contains("huge") && wrong_class.stderr.contains("small"), "{}", wrong_class.stderr);
    let nothing = run(&["submit", "/nowhere"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    all_is_well(&board).await;
}

#[tokio::test]
async fn leaving_a_watch_leaves_the_job_alone() {
    let board = Board::start(&[("LEASE", "1s")]).await;
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("main.py"), "import time\nprint('begun')\ntime.sleep(300)\n").expect("a file");
    std::fs::write(folder.path().join("config.yaml"), "a: 1\n").expect("a file");
    let mut submit = command(board.data());
    submit.arg("submit").arg(folder.path()).arg("--watch").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut submit = Process::spawn(submit);
    assert_eq!(submit.line(), "begun\n");
    submit.signal(Signal::SIGINT);
    assert_eq!(submit.wait(), Some(130));
    let said = submit.stderr();
    assert!(said.contains("the job goes on"), "{said}");

    let alice = Client::new(board.server(), ALICE);
    let listed = alice.get("/jobs").await.body;
    let job = listed["jobs"][0]["job_id"].as_str().expect("an id");
    assert_eq!(listed["jobs"][0]["status"], "running");

    let mut watch = command(board.data());
    watch.args(["jobs", "watch", job]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = Process::spawn(watch);
    assert_eq!(watch.line(), "begun\n");
    watch.signal(Signal::SIGINT);
    assert_eq!(watch.wait(), Some(130));
    let said = watch.stderr();
    assert!(said.contains("the job goes on"), "{said}");

    let asked = board.run(["jobs", "cancel", job]);
    assert!(asked.code == Some(0) && asked.stderr.starts_with("asked for"), "{asked:?}");
    alice.wait_for(job, "cancelled").await;
    assert_eq!(board.run(["jobs", "watch", job]).code, Some(1), "it did not complete");
    all_is_well(&board).await;
}

/// A folder with a program.
fn folder(program: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("main.py"), program).expect("a file");
    std::fs::write(folder.path().join("config.yaml"), "a: 1\n").expect("a file");
    folder
}

#[tokio::test]
async fn nothing_is_started_after_ctrl_c() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (data, folder) = (tempfile::tempdir().expect("a directory"), folder("print(1)\n"));
    let mut submit = command(data.path());
    submit.arg("submit").arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let server = format!("http://{}", listener.local_addr().expect("its address"));
    submit.env("LEADERSBOARD_URL", server).env("LEADERSBOARD_TOKEN", "token");
    let mut submit = Process::spawn(submit);
    let (mut upload, _) = listener.accept().await.expect("the upload");
    let mut head = [0; 16];
    upload.read_exact(&mut head).await.expect("its head");
    assert_eq!(&head, b"POST /submission");
    submit.signal(Signal::SIGINT);
    let answer = r#"{"submission_id":"s","user_id":"u"}"#;
    let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
    // It may have hung up already.
    let _ = upload.write_all(answer.as_bytes()).await;
    assert_eq!(submit.wait(), Some(130));
    let mut rest = Vec::new();
    let _ = upload.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("POST /jobs"));
    assert!(futures::FutureExt::now_or_never(listener.accept()).is_none(), "a request after Ctrl-C");
    assert!(submit.stderr().contains("no job was started"));
}

#[tokio::test]
async fn a_submission_waits_for_its_slot_if_asked_to() {
    let board = Board::start(&[("MAX_CONCURRENT_RUNNING", "1"), ("CONCURRENCY_POLICY", "reject")]).await;
    let alice = Client::new(board.server(), ALICE);
    let gate = board.gate("gate");
    let first = alice.run(&leadersboard_tests::programs::gated(&gate)).await;
    alice.wait_for(&first, "running").await;
    let folder = folder(super::INSTANT);
    let folder = folder.path().display().to_string();
    let refused = board.run(["submit", &folder]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains(&first) && refused.stderr.contains("--wait"), "{refused:?}");

    let mut submit = command(board.data());
    let told = board.data().join("told");
    submit.args(["submit", "--wait", "--watch", &folder]).stdout(Stdio::piped());
    submit.stderr(std::fs::File::create(&told).expect("a file"));
    submit.env("LEADERSBOARD_URL", board.server()).env("LEADERSBOARD_TOKEN", ALICE);
    let mut submit = Process::spawn(submit);
    let submissions = async || alice.get("/submissions").await.body["submissions"].as_array().map(Vec::len);
    let waits = async || {
        let told = std::fs::read_to_string(&told).ok()?;
        (told.contains("waiting: limit of running jobs reached: 1") && told.contains(&first)).then_some(())
    };
    until("it tells why it waits", Duration::from_mins(1), waits).await;
    std::fs::write(&gate, "").expect("the gate");
    assert_eq!(submit.wait(), Some(0));
    assert_eq!(submissions().await, Some(3), "the files were sent once");
    all_is_well(&board).await;
}

#[tokio::test]
async fn doctor_finds_what_is_there_and_names_the_cure_for_what_is_not() {
    let board = Board::start(&[]).await;
    let healthy = Finished::of(command(board.data()).args(["doctor", "--json"]).output().expect("the binary runs"));
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    let verdicts: Vec<_> =
        healthy.json().as_array().expect("a list").iter().map(|row| row["verdict"].clone()).collect();
    assert!(verdicts.iter().all(|verdict| verdict == "good"), "{healthy:?}");
    let mut broken = command(board.data());
    broken.args(["doctor"]).env("JOB_PYTHON", "/nowhere/python").env("REDIS_URL", "redis://127.0.0.1:1");
    let broken = Finished::of(broken.output().expect("the binary runs"));
    assert_eq!(broken.code, Some(1));
    assert!(broken.stdout.contains("/nowhere/python") && broken.stdout.contains("REDIS_URL"), "{}", broken.stdout);
}

#[test]
fn doctor_makes_nothing_where_nothing_is() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let data = empty.path().join("data");
    let logs = empty.path().join("logs");
    let mut doctor = command(&data);
    doctor.current_dir(empty.path()).arg("doctor").env("LOG_ROOT", &logs);
    let told = Finished::of(doctor.output().expect("the binary runs"));
    assert_eq!(told.code, Some(1), "{told:?}");
    for said in [format!("no data directory {}", data.display()), format!("no folder {}", logs.display())] {
        assert!(told.stdout.contains(&said) && !told.stdout.contains("is writable"), "{told:?}");
    }
    assert_eq!(std::fs::read_dir(empty.path()).expect("it is there").count(), 0, "doctor makes nothing");
    let mut attack = command(&data);
    let attacked = Finished::of(attack.args(["doctor", "sandbox"]).output().expect("the binary runs"));
    assert!(attacked.stdout.contains("ATTEMPT"), "{attacked:?}");
    assert_eq!(std::fs::read_dir(empty.path()).expect("it is there").count(), 0, "doctor makes nothing");
    std::fs::create_dir(&data).expect("a folder");
    let told = Finished::of(doctor.output().expect("the binary runs"));
    assert!(told.stdout.contains("there is no folder") && !told.stdout.contains("is writable"), "{told:?}");
    assert_eq!(std::fs::read_dir(&data).expect("it is there").count(), 0, "doctor makes nothing");
}

#[test]
fn a_value_that_cannot_be_read_stops_the_start_by_name() {
    let data = tempfile::tempdir().expect("a temporary directory");
    for (name, value, named) in [
        ("LEASE", "soon", "--lease"),
        ("RESOURCE_CLASSES", "small=never", "RESOURCE_CLASSES"),
        ("LISTEN_ADDR", "everywhere", "--listen"),
        ("API_TOKENS", "a:b,a:b,", "API_TOKENS"),
        ("LOG_FORMAT", "xml", "--log-format"),
        ("NAMESPACE", "a b", "--namespace"),
        ("WORKER_SLOTS", "many", "--slots"),
        ("MAX_SUBMISSIONS_PER_HOUR", "ten", "--max-submissions-per-hour"),
        ("MAX_CONCURRENT_RUNNING", "0", "MAX_CONCURRENT_RUNNING"),
        ("CONCURRENCY_POLICY", "wait", "CONCURRENCY_POLICY"),
        ("WORKER_CLASSES", "small,huge", "huge"),
    ] {
        let output = command(data.path()).arg("up").env(name, value).output().expect("the binary runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {stderr}");
        assert!(stderr.starts_with("error: ") || stderr.contains("\nerror: "), "{name}: {stderr}");
        assert!(stderr.contains(named), "{name}: {stderr}");
        assert!(!stderr.contains("a:b"), "a token is not told: {stderr}");
    }
}
