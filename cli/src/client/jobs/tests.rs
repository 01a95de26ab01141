//! The commands over a real connection, and the words of a report.

use clap::{Parser, Subcommand};
use serde_json::json;

use super::*;
use crate::client::ClientCommand;
use crate::client::http::interrupt::Interrupt;
use crate::client::http::model::Job;
use crate::client::http::test_server::TestServer;
use crate::client::trust::Trust;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Top,
}

#[derive(Debug, Subcommand)]
enum Top {
    #[command(flatten)]
    Client(ClientCommand),
}

const ID: &str = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";

fn job_json(id: &str, status: &str) -> Value {
    json!({
        "job_id": id, "submission_id": "s", "user_id": "u", "status": status, "attempt": 1,
        "created_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:01Z",
        "finished_at": "2026-01-01T00:01:06Z",
    })
}

fn job(extra: &Value) -> Job {
    let mut job = job_json("j", "failed");
    job.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(job).unwrap()
}

async fn run(server: &TestServer, args: &[&str]) -> Result<Outcome, ClientError> {
    let connection = ["--server", server.url.as_str(), "--token", "secret"];
    let args = ["leadersboard"].iter().chain(args).chain(&connection);
    match Cli::try_parse_from(args).unwrap().command {
        Top::Client(ClientCommand::Submit(submit)) => submit.run(Output::Json, &Interrupt::new()).await,
        Top::Client(ClientCommand::Jobs(jobs)) => jobs.run(Output::Human, &Interrupt::new()).await,
        Top::Client(ClientCommand::Submissions(submissions)) => submissions.run(Output::Human).await,
        Top::Client(ClientCommand::Board(board)) => board.run(Output::Human).await,
        Top::Client(ClientCommand::Me(me)) => me.run(Output::Human).await,
    }
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[tokio::test]
async fn a_list_follows_short_pages_to_its_limit() {
    let server = TestServer::start(|request| {
        let page = match request.line.as_str() {
            "GET /jobs?limit=3&status=running" => {
                json!({"jobs": [job_json("a", "running")], "next_cursor": "1"})
            }
            "GET /jobs?limit=2&status=running&cursor=1" => json!({"jobs": [], "next_cursor": "2"}),
            "GET /jobs?limit=2&status=running&cursor=2" => {
                json!({"jobs": [job_json("b", "running")], "next_cursor": null})
            }
            other => panic!("unexpected {other}"),
        };
        (200, "", page.to_string())
    })
    .await;
    run(&server, &["jobs", "list", "--status", "running", "-n", "3"]).await.unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_submission_is_sent_started_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("main.py", "print(1)"), ("config.yaml", "a: 1"), ("data.csv", "1,2")] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let server = TestServer::start(|request| match request.line.as_str() {
        "POST /submissions" => (201, "", json!({"submission_id": "s1", "user_id": "u"}).to_string()),
        "POST /jobs" => (202, "", json!({"job_id": "j1", "submission_id": "s1", "status": "pending"}).to_string()),
        "GET /jobs/j1" => (200, "", job_json("j1", "failed").to_string()),
        _ => {
            let log = json!({"attempt": 1, "offset": 0, "next_offset": 0, "logs": "", "complete": true});
            (200, "", log.to_string())
        }
    })
    .await;
    let path = folder.path().to_str().unwrap();
    let outcome = run(&server, &["submit", path, "--class", "medium", "--watch", "--metadata", r#"{"a": 1}"#]).await;
    assert_eq!(outcome.unwrap(), Outcome::JobFailed);
    let requests = server.requests();
    let upload = &requests[0];
    assert!(upload.head.contains("authorization: bearer secret"));
    assert!(upload.head.contains("content-length: "), "not chunked: {}", upload.head);
    for part in [
        "name=\"entrypoint\"\r\n\r\nmain.py",
        "name=\"config_file\"\r\n\r\nconfig.yaml",
        "name=\"metadata\"\r\n\r\n{\"a\": 1}",
        "name=\"files\"; filename=\"main.py\"\r\n\r\nprint(1)",
        "name=\"files\"; filename=\"bundle.tar.gz\"",
    ] {
        assert!(upload.body.contains(part), "{part:?} in {}", upload.body);
    }
    assert!(!upload.body.contains("filename=\"data.csv\""));
    let start: Value = serde_json::from_str(&requests[1].body).unwrap();
    assert_eq!(start, json!({"submission_id": "s1", "config": {"resource_class": "medium"}}));
}

#[tokio::test]
async fn a_limit_says_when_to_come_back_and_that_the_files_are_kept() {
    let server = TestServer::start(|_| {
        let body = json!({"detail": "10 jobs an hour are the most", "code": "jobs_per_hour"});
        (429, "retry-after: 720\r\n", body.to_string())
    })
    .await;
    let error = run(&server, &["submit", "--submission", ID]).await.unwrap_err();
    let sentence = error.sentence().unwrap();
    assert!(sentence.contains("10 jobs an hour are the most. Try again in 12 min."), "{sentence}");
    assert!(sentence.contains(&format!("submit --submission {ID} --wait")), "{sentence}");
}

#[tokio::test]
async fn a_submission_that_is_not_there_is_not_offered_again() {
    let server = TestServer::start(|_| (404, "", json!({"detail": "there is no such submission"}).to_string())).await;
    let error = run(&server, &["submit", "--submission", ID]).await.unwrap_err();
    assert_eq!(error.sentence().unwrap(), "error: there is no such submission.");
}

#[test]
fn a_job_that_has_not_begun_is_told_to_be_cancelled() {
    assert_eq!(cancelled(&json!({"status": "cancelled"}), "j"), "cancelled");
    assert!(cancelled(&json!({"status": "running"}), "j").starts_with("asked for"));
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let answers = |status, headers, body: &'static str| TestServer::start(move |_| (status, headers, body.to_owned()));
    let sentence =
        async |server: TestServer| run(&server, &["jobs", "show", ID]).await.unwrap_err().sentence().unwrap();
    let wrong_token = sentence(answers(401, "", r#"{"detail":"unknown token"}"#).await).await;
    assert!(wrong_token.contains("unknown token.") && wrong_token.contains("LEADERSBOARD_TOKEN"), "{wrong_token}");
    let moved = sentence(answers(308, "location: https://new.example/\r\n", "").await).await;
    assert!(moved.contains("https://new.example/") && moved.contains("--server"), "{moved}");
    let other = sentence(answers(200, "", "<html>").await).await;
    assert!(other.contains("is it a LeadersBoard server?"), "{other}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let server = TestServer::start(|_| (200, "", String::new())).await;
    let url = server.url.clone();
    drop(server);
    let client = Client::new(&url.parse().unwrap(), "t", &Trust::Machine).unwrap();
    let mut tries = 0;
    // The listener closes when its task has been dropped, a moment later.
    let sentence = loop {
        let error = client.get::<Value>("/jobs", &[]).await.unwrap_err();
        let sentence = error.sentence().unwrap();
        if sentence.contains("no connection") || tries > 1_000 {
            break sentence;
        }
        tries += 1;
        tokio::task::yield_now().await;
    };
    assert!(sentence.contains(&url) && sentence.contains("leadersboard up"), "{sentence}");
}

#[test]
fn the_end_of_a_failed_job_is_one_sentence_unless_its_log_was_not_seen() {
    let failed = job(&json!({
        "error": "short",
        "failure": {"kind": "nonzero_exit", "error": "exit code 1: ValueError", "exit_code": 1, "log_tail": "\u{1b}[31m 1%\r 2%\nTraceback\n"},
    }));
    assert_eq!(report::ending(&failed, true), "failed after 1 min 5 s: exit code 1: ValueError");
    assert!(report::ending(&failed, false).starts_with("the log's end:\n 2%\nTraceback\n\nfailed"));
}

#[test]
fn a_whole_job_leaves_out_what_is_not_known() {
    let text = report::whole(&job(&json!({"metrics": {"acc": 0.25}, "gpus": [], "worker": null})));
    assert!(text.contains("status:") && text.contains("ran for:     1 min 5 s"), "{text}");
    assert!(!text.contains("worker") && !text.contains("gpus"), "{text}");
    assert!(text.contains("METRIC  VALUE\nacc     0.25"), "{text}");
}

#[test]
fn a_waiting_job_tells_what_it_waits_for_where_it_stands_and_how_long() {
    let queue = json!({
        "position": 3, "ahead": 2, "workers_alive": 1, "eta_seconds": 300,
        "reason": "2 jobs of class small are ahead of you",
    });
    let waiting = job(&json!({"status": "pending", "attempt": 0, "queue": queue}));
    let told = "2 jobs of class small are ahead of you, position 3, starts in about 5 min";
    assert!(report::whole(&waiting).contains(&format!("waits:       {told}")), "{}", report::whole(&waiting));
    let listed = list::rows(&[waiting, job(&json!({"error": "exit code 1"}))]);
    assert!(listed.contains("DETAILS") && listed.contains(told) && listed.contains("exit code 1"), "{listed}");
}
