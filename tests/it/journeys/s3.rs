//! A board whose files are in S3 alone: its API and its workers share no folder.

use std::process::Command;
use std::time::Duration;

use leadersboard_tests::board::Process;
use leadersboard_tests::client::{Client, files};
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::s3::{S3Server, variables};
use leadersboard_tests::wait::until;
use nix::sys::signal::Signal;
use projections::Keyspace;
use serde_json::json;

use super::INSTANT;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "s3-secret-of-the-test";

/// Gives a role a data directory of its own, and the bucket.
fn apart(mut role: Command, roles: &Roles, server: &S3Server, name: &str) -> Process {
    role.env("DATA_DIR", roles.data.path().join(format!("{name}-data"))).env("STORAGE_URL", "s3://board/team/a");
    role.envs(variables(&server.address()));
    Process::spawn(role)
}

fn api(roles: &Roles, server: &S3Server, settings: &[(&str, &str)]) -> (Process, Client) {
    roles.migrate(settings);
    let data = roles.data.path().join("api-data").display().to_string();
    let mut environment = variables(&server.address());
    environment.extend([("DATA_DIR", data), ("STORAGE_URL", "s3://board/team/a".to_owned())]);
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    roles.api_with("api", &environment)
}

fn worker(roles: &Roles, server: &S3Server, name: &str) -> Process {
    apart(roles.worker_command(name, "1s"), roles, server, name)
}

/// Waits until a client that polls reads this.
async fn read(alice: &Client, job: &str, wanted: &str) {
    until(&format!("{wanted:?} is read"), PATIENCE, async || {
        let log = alice.get(&format!("/jobs/{job}/logs")).await.body;
        (log["logs"] == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_runs_is_followed_and_expires_without_any_shared_folder() {
    let (roles, server) = (Roles::new().await, S3Server::start().await);
    let (_api, alice) = api(&roles, &server, &[("RETENTION", "2s"), ("SUBMISSION_TTL", "1s")]);
    let _worker = worker(&roles, &server, "one");
    let gate = roles.gate("gate").display().to_string();
    let program = format!(
        "import os, sys, time\nprint('one')\nwhile not os.path.exists({gate:?}): time.sleep(0.02)\n\
         print(sorted(name for name in os.environ if 'AWS' in name or 'STORAGE' in name))\n\
         output = sys.argv[sys.argv.index('--output') + 1]\n\
         open(output + '/model \u{e9}.bin', 'wb').write(bytes(range(256)) * 40000)\n{INSTANT}"
    );
    let job = alice.run(&program).await;
    let mut stream = alice.stream(&format!("/jobs/{job}/logs/stream"), None).await;
    let mut followed = String::new();
    while followed != "one\n" {
        let message = stream.next().await.expect("it is shown while it runs");
        followed += message.data["logs"].as_str().unwrap_or_default();
    }
    read(&alice, &job, "one\n").await;
    std::fs::write(&gate, "").expect("the gate");
    for message in stream.rest().await {
        followed += message.data["logs"].as_str().unwrap_or_default();
    }
    let whole = "one\n[]\nhello from the job\n";
    assert_eq!(followed, whole, "and nothing of the account is in its environment");
    alice.wait_for(&job, "completed").await;
    read(&alice, &job, whole).await;
    let model = alice.request(reqwest::Method::GET, &format!("/jobs/{job}/artifacts/model%20%C3%A9.bin"));
    let model = model.header("range", "bytes=1000-9999").send().await.expect("an answer");
    assert_eq!((model.status().as_u16(), model.bytes().await.expect("a body").len()), (206, 9000));
    for folder in ["api-data", "one-data"] {
        for kind in ["uploads", "logs", "artifacts"] {
            assert!(!roles.data.path().join(folder).join(kind).exists(), "{folder}/{kind}");
        }
    }
    for role in ["api", "one"] {
        assert!(!roles.words(role).contains(SECRET), "{role}");
    }
    let kept = |kind: &str| format!("team/a/{kind}/");
    until("all files have expired", PATIENCE, async || {
        let mut left = Vec::new();
        for kind in ["submissions", "artifacts", "logs", ".uploads"] {
            left.extend(server.keys(&kept(kind)).await);
        }
        left.is_empty().then_some(())
    })
    .await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_costs_at_most_what_it_has_not_sent() {
    let (roles, server) = (Roles::new().await, S3Server::start().await);
    let (_api, alice) = api(&roles, &server, &[]);
    let lost = worker(&roles, &server, "lost");
    let gate = roles.gate("gate").display().to_string();
    // More than a segment, and a line behind it.
    let program = format!(
        "import os, time\nfor n in range(60000): print('x' * 79)\nprint('last', flush=True)\n\
         while not os.path.exists({gate:?}): time.sleep(0.02)\n{INSTANT}"
    );
    let job = alice.run(&program).await;
    alice.wait_for(&job, "running").await;
    let segments = format!("team/a/logs/{job}/");
    until("a segment is sent", PATIENCE, async || (server.keys(&segments).await.len() >= 2).then_some(())).await;
    lost.signal(Signal::SIGKILL);
    let _other = worker(&roles, &server, "other");
    std::fs::write(&gate, "").expect("the gate");
    alice.wait_for(&job, "completed").await;
    let first = format!("/jobs/{job}/logs?attempt=1&max_bytes=1048576&offset=");
    let log = until("the end of the first log is marked", PATIENCE, async || {
        let mut log = String::new();
        loop {
            let piece = alice.get(&format!("{first}{}", log.len())).await.body;
            let more = piece["logs"].as_str().expect("a text");
            if more.is_empty() {
                break;
            }
            log += more;
        }
        log.contains("[leadersboard] the worker was lost: ").then_some(log)
    })
    .await;
    let printed = log.lines().filter(|line| *line == "x".repeat(79)).count();
    assert!(printed >= (4 << 20) / 80 && log.starts_with("xxx"), "{printed} lines of the first attempt");
    let second = alice.get(&format!("/jobs/{job}/logs?tail_lines=2")).await.body;
    assert_eq!(second["logs"], "last\nhello from the job\n");
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_told_at_the_start_and_by_doctor() {
    let (roles, server) = (Roles::new().await, S3Server::start().await);
    roles.migrate(&[]);
    let refuse = |arguments: &[&str], settings: &[(&str, &str)]| {
        let mut role = roles.command(arguments);
        role.env("STORAGE_URL", "s3://board").envs(variables(&server.address())).envs(settings.iter().copied());
        let ended = role.output().expect("the binary runs");
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let told = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(!told.contains(SECRET) && !told.contains("hidden"), "{told}");
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (settings, told) in [
        (&[("STORAGE_URL", "s3://nowhere")][..], "the S3 bucket \"nowhere\" at"),
        (&[("STORAGE_URL", "s3://nowhere")], "does not exist: create the bucket"),
        (&[("STORAGE_URL", "s3://key:hidden@board")], "AWS_ACCESS_KEY_ID"),
        (&[("UPLOAD_ROOT", "/tmp/x")], "STORAGE_URL and UPLOAD_ROOT are both given"),
        (&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], "can't be reached: Connection refused"),
        (&[("AWS_ENDPOINT_URL", "http://s3.example")], "AWS_ALLOW_HTTP"),
        (&[("AWS_CA_BUNDLE", "/nowhere")], "AWS_CA_BUNDLE \"/nowhere\" can't be read"),
    ] {
        let role = refuse(&["api", "--listen", "127.0.0.1:0"], settings);
        assert!(role.contains(told), "api: {role}");
        let doctor = refuse(&["doctor", "--json"], settings);
        assert!(doctor.replace("\\\"", "\"").contains(told), "doctor: {doctor}");
    }
    let account = refuse(&["worker", "--job-env", "AWS_SECRET_ACCESS_KEY"], &[]);
    assert!(account.contains("JOB_ENV passes on AWS_SECRET_ACCESS_KEY"), "{account}");
}

#[tokio::test]
async fn a_board_is_copied_to_folders_and_back_and_nothing_is_lost() {
    let (roles, server) = (Roles::new().await, S3Server::start().await);
    let (api_on_s3, alice) = api(&roles, &server, &[]);
    let one = worker(&roles, &server, "one");
    let form = files(&[("main.py", INSTANT), ("config.yaml", "seed: 1\n"), ("zo\u{eb} 1.py", "x = 1\n")]);
    let submission = alice.upload(form).await.body["submission_id"].as_str().expect("an id").to_owned();
    let job = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&job, "completed").await;
    drop((api_on_s3, one));
    let root = roles.data.path();
    let folder = |name: &str| format!("file://{}", root.join(name).display());
    let copy = |from: &str, to: &str| {
        let mut copy = roles.command(&["storage", "copy", "--json", "--from", from, "--to", to]);
        let done = copy.envs(variables(&server.address())).output().expect("the binary runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{done:?}"));
        (done.status.code(), told)
    };
    let copied =
        |told: &serde_json::Value| ["submissions", "artifacts", "logs"].map(|kind| told["copied"][kind].clone());
    let (code, told) = copy("s3://board/team/a", &folder("out"));
    assert_eq!((code, &told["complete"], copied(&told)), (Some(0), &json!(true), [(); 3].map(|()| json!(1))), "{told}");
    let main = std::fs::read_to_string(root.join(format!("out/uploads/{submission}/main.py")));
    assert_eq!(main.expect("a plain file"), INSTANT);
    let metrics = std::fs::read_dir(root.join(format!("out/artifacts/{job}"))).expect("a folder a job").next();
    assert!(metrics.expect("a run").expect("an entry").path().join("files/metrics.json").is_file());

    let (code, _) = copy(&folder("out"), "s3://board/back");
    assert_eq!(code, Some(0));
    let keys = server.keys("back/").await;
    assert_eq!(keys.iter().filter(|key| key.contains(".boards/")).count(), 1, "{keys:?}");
    let (code, told) = copy(&folder("out"), "s3://board/back");
    assert_eq!((code, &told["present"], &told["copied"]["bytes"]), (Some(0), &json!(3), &json!(0)), "{told}");
    assert_eq!(server.keys("back/").await, keys, "nothing is left of the copies");
    assert_eq!(copy("s3://board/back", &folder("again")).0, Some(0));
    let same = Command::new("diff").arg("-r").args(["out", "again"].map(|name| root.join(name))).output();
    assert!(same.as_ref().is_ok_and(|diff| diff.status.success()), "{same:?}");

    // The board goes on from the copy.
    let (_api, alice) = roles.api_with("moved", &[("STORAGE_URL", &folder("again"))]);
    assert_eq!(alice.get(&format!("/jobs/{job}/logs")).await.body["logs"], "hello from the job\n");
    assert_eq!(alice.get(&format!("/jobs/{job}/artifacts/metrics.json")).await.body["metrics"]["auc"], 0.5);

    // What is damaged is named, and not copied.
    std::fs::write(root.join(format!("out/uploads/{submission}/main.py")), "print('changed')").expect("writable");
    let (code, told) = copy(&folder("out"), "s3://board/damaged");
    assert_eq!((code, &told["missing_count"]), (Some(1), &json!(1)), "{told}");
    let named = told["missing"][0].as_str().expect("a text");
    assert!(named.starts_with(&format!("submission {submission}: \"main.py\" has the SHA-256 ")), "{named}");
    assert!(!server.keys("damaged/").await.iter().any(|key| key.ends_with("metadata.json")));
    for (from, to, told) in [
        (folder("out"), folder("out"), "are the same storage"),
        (folder("nowhere"), "s3://board/empty".to_owned(), "there are no files of a board in file://"),
        ("s3://board/nothing".to_owned(), folder("empty"), "there are no files of a board in s3://board/nothing"),
    ] {
        let mut copy = roles.command(&["storage", "copy", "--from", &from, "--to", &to]);
        let refused = copy.envs(variables(&server.address())).output().expect("the binary runs");
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && error.contains(told), "{error}");
    }
}
