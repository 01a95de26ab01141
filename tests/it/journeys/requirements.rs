//! Submissions with a `requirements.txt`, and an index of the test's own that `uv` asks.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use leadersboard_tests::board::{ALICE, Board, command, repository};
use leadersboard_tests::client::{Client, with_file};
use leadersboard_tests::wait::until;
use serde_json::{Value, json};

use super::{INSTANT, all_is_well, processes_of};

/// A package index on this machine.
struct Index {
    served: Arc<Served>,
    address: String,
}

#[derive(Default)]
struct Served {
    wheels: BTreeMap<String, Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

impl Index {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        // It springs at every start of an interpreter that looks at what is installed.
        let trap = ("trap.pth", "import sys; sys.stderr.write('the trap was sprung\\n')\n");
        let elsewhere = format!("Requires-Dist: other @ {address}/elsewhere/other-1.0-py3-none-any.whl\n");
        let wheels = BTreeMap::from([
            ("greeting".to_owned(), wheel("greeting", "", &[("greeting/__init__.py", "WORD = 'hello'\n"), trap])),
            ("sly".to_owned(), wheel("sly", &elsewhere, &[("sly.py", "")])),
        ]);
        let served = Arc::new(Served { wheels, asked: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&served));
        // It ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { served, address }
    }

    fn asked(&self) -> Vec<String> {
        self.served.asked.lock().expect("no handler panics").clone()
    }
}

async fn answer(State(served): State<Arc<Served>>, uri: Uri) -> Response {
    let path = uri.path().to_owned();
    served.asked.lock().expect("no handler panics").push(path.clone());
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["simple", "slow"] => std::future::pending().await,
        ["simple", name] if served.wheels.contains_key(name) => {
            let file = format!("{name}-1.0-py3-none-any.whl");
            ([(header::CONTENT_TYPE, "text/html")], format!("<a href=\"/files/{name}/{file}\">{file}</a>"))
                .into_response()
        }
        ["files", name, _] if served.wheels.contains_key(name) => {
            Body::from(served.wheels[name].clone()).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn wheel(name: &str, more: &str, content: &[(&str, &str)]) -> Vec<u8> {
    let info = format!("{name}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{more}");
    let kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut all: Vec<(String, String)> =
        content.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    all.push((format!("{info}/METADATA"), metadata));
    all.push((format!("{info}/WHEEL"), kind.to_owned()));
    let record: String = all.iter().flat_map(|(path, _)| [path, ",,\n"]).collect();
    all.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n")));
    let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
    for (path, text) in all {
        archive.start_file(path, zip::write::SimpleFileOptions::default()).expect("an entry");
        archive.write_all(text.as_bytes()).expect("memory");
    }
    archive.finish().expect("an archive").into_inner()
}

/// A board that installs from this index, and denies its jobs every network.
async fn board(index: &str, settings: &[(&str, &str)]) -> Board {
    let (uv, index) = (uv(), format!("{index}/simple"));
    let mut all = vec![("REQUIREMENTS", "cached"), ("REQUIREMENTS_INDEX", &index), ("UV", &uv), ("NETWORK", "none")];
    all.extend_from_slice(settings);
    Board::start(&all).await
}

fn uv() -> String {
    let uv = repository().join(".venv/bin/uv");
    assert!(uv.is_file(), "`scripts/bootstrap.sh venv` comes first: `make test` does it");
    uv.display().to_string()
}

async fn run(alice: &Client, program: &str, requirements: &str) -> String {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(vec![], flate2::Compression::fast()));
    for (path, content) in [("main.py", program), ("requirements.txt", requirements)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_bytes()).expect("an entry");
    }
    let archive = archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
    let answer = alice.upload(with_file("code.tar.gz", archive)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    alice.enqueue(answer.body["submission_id"].as_str().expect("an id"), json!({})).await
}

async fn log(alice: &Client, job: &str) -> String {
    alice.get(&format!("/jobs/{job}/logs")).await.body["logs"].as_str().expect("a log").to_owned()
}

/// The complete environments under a board's work root.
fn environments(data: &Path) -> usize {
    let folder = data.join("work/environments");
    std::fs::read_dir(folder).map_or(0, |all| all.flatten().filter(|entry| entry.path().is_dir()).count())
}

#[tokio::test]
async fn packages_are_installed_once_for_jobs_that_have_no_network_and_can_not_write_them() {
    let index = Index::start().await;
    let board = board(&index.address, &[]).await;
    let alice = Client::new(board.server(), ALICE);
    let port = index.address.rsplit(':').next().expect("a port");
    let program = format!(
        "import greeting, os, socket, sys\nprint(greeting.WORD, sys.prefix)\nassert '/environments/' in sys.prefix\n\
         assert os.path.exists(greeting.__cached__), 'not compiled'\n\
         here = os.path.dirname(greeting.__file__)\n\
         attempts = [lambda: open(here + '/new.py', 'w'), lambda: open(greeting.__file__, 'a'),\n\
         \x20   lambda: open(sys.prefix + '/new', 'w'), lambda: os.remove(sys.prefix + '/pyvenv.cfg'),\n\
         \x20   lambda: os.rename(here, here + '2'), lambda: open(sys.prefix + '.lock'),\n\
         \x20   lambda: socket.create_connection(('127.0.0.1', {port}), 5)]\n\
         for number, attempt in enumerate(attempts):\n\
         \x20   try: attempt()\n\
         \x20   except OSError as error: print(number, error)\n\
         \x20   else: sys.exit('attempt %d went through' % number)\n{INSTANT}"
    );
    let first = run(&alice, &program, "greeting==1.0\n").await;
    alice.wait_for(&first, "completed").await;
    let asked = index.asked();
    assert!(asked.contains(&"/simple/greeting/".to_owned()), "{asked:?}");
    let said = log(&alice, &first).await;
    assert!(said.contains("+ greeting==1.0"), "what uv says is in the log: {said}");
    let (installing, running) = said.split_once("is installed").expect("a note of it");
    let trap = "the trap was sprung";
    assert!(!installing.contains(trap) && running.contains(trap), "by the job, not by its installation: {said}");

    let second = run(&alice, &program, "# the same\nGreeting == 1.0 # again\n").await;
    alice.wait_for(&second, "completed").await;
    assert_eq!(index.asked(), asked, "what is there is not asked for again");
    assert!(!log(&alice, &second).await.contains("+ greeting"));
    assert_eq!(environments(board.data()), 1);
    all_is_well(&board).await;
}

#[tokio::test]
async fn what_can_not_be_installed_is_the_submissions_own_fault_and_leaves_nothing() {
    let index = Index::start().await;
    let board = board(&index.address, &[]).await;
    let alice = Client::new(board.server(), ALICE);
    for (requirements, words) in [
        ("nosuch\n", "requirements.txt could not be installed: Because nosuch was not found"),
        ("greeting==2.0\n", "requirements.txt could not be installed: "),
        // What a package itself says about where others are counts for nothing.
        ("sly\n", "requirements.txt could not be installed: "),
        ("greeting\n--index-url http://127.0.0.1/simple\n", "requirements.txt can't be used: line 2 is an option"),
    ] {
        let job = run(&alice, INSTANT, requirements).await;
        let ended = alice.wait_for(&job, "failed").await;
        assert_eq!(ended["failure"]["kind"], "setup", "{requirements}: {ended}");
        let error = ended["error"].as_str().expect("a sentence");
        assert!(error.contains(words), "{requirements}: {error}");
    }
    let asked = index.asked();
    assert!(!asked.iter().any(|path| path.contains("elsewhere")), "{asked:?}");
    assert_eq!(environments(board.data()), 0);
    let folded = all_is_well(&board).await;
    assert!(folded.stories.values().all(|story| *story == ["job.enqueued", "job.started", "job.failed"]));
}

#[tokio::test]
async fn an_index_that_is_away_is_the_platforms_fault() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let board = board(&format!("http://{nobody}"), &[("MAX_RETRIES", "1"), ("RETRY_BACKOFF", "100ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = run(&alice, INSTANT, "greeting\n").await;
    let ended = alice.wait_for(&job, "failed").await;
    assert_eq!(ended["failure"]["kind"], "infrastructure", "{ended}");
    all_is_well(&board).await;
}

#[tokio::test]
async fn an_installation_is_cancelled_like_a_job_and_its_lease_is_kept_meanwhile() {
    let index = Index::start().await;
    let board = board(&index.address, &[("LEASE", "1s")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = run(&alice, INSTANT, "slow\n").await;
    until("the index is asked", Duration::from_mins(1), async || (!index.asked().is_empty()).then_some(())).await;
    assert_eq!(alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await.status, 202);
    let ended = alice.wait_for(&job, "cancelled").await;
    assert_eq!(ended["failure"], Value::Null);
    assert_eq!(processes_of(&board), Vec::<String>::new());
    assert_eq!(environments(board.data()), 0);
    all_is_well(&board).await;
}

#[tokio::test]
async fn what_a_worker_that_was_killed_had_begun_to_install_is_swept_and_begun_again() {
    let index = Index::start().await;
    let mut board = board(&index.address, &[("LEASE", "1s"), ("RETRY_BACKOFF", "100ms")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = run(&alice, INSTANT, "slow\n").await;
    let minute = Duration::from_mins(1);
    until("the index is asked", minute, async || (!index.asked().is_empty()).then_some(())).await;
    board.crash_and_restart().await;
    until("the index is asked again", minute, async || (index.asked().len() > 1).then_some(())).await;
    let alice = Client::new(board.server(), ALICE);
    let work = std::fs::read_dir(board.data().join("work")).expect("a work root").flatten();
    let names: Vec<String> = work.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let stations = names.iter().filter(|name| !["environments", "gpus"].contains(&name.as_str())).count();
    assert_eq!(stations, 1, "{names:?}");
    assert_eq!(alice.post(&format!("/jobs/{job}/cancel"), &json!({})).await.status, 202);
    alice.wait_for(&job, "cancelled").await;
    all_is_well(&board).await;
}

#[test]
fn a_worker_that_can_not_install_as_it_is_told_does_not_start() {
    let data = tempfile::tempdir().expect("a temporary directory");
    for (settings, words) in [
        (&[("REQUIREMENTS", "cache")][..], "must be off or cached"),
        (&[("REQUIREMENTS", "cached"), ("UV", "/nowhere/uv")], "give the path of uv itself as UV"),
        (&[("REQUIREMENTS", "cached"), ("REQUIREMENTS_INDEX", "/srv/index")], "REQUIREMENTS_INDEX must be"),
    ] {
        let ended = command(data.path()).arg("up").envs(settings.iter().copied()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(words), "{settings:?}: {said}");
    }
}
