//! The `curl` lines of docs/api.md, one for each call of the document.

use std::collections::BTreeSet;
use std::process::Command;

use leadersboard_tests::board::{ALICE, Board, Finished, repository};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::gated;
use serde_json::{Value, json};

use super::all_is_well;

/// Leaves what the lines fetch.
const LEAVES_A_TABLE: &str = r#"
import json, sys
output = sys.argv[sys.argv.index("--output") + 1]
open(output + "/preds.csv", "w").write("id,score\n")
json.dump({"params": {"seed": 7}, "metrics": {"image_auc": 0.5}}, open(output + "/metrics.json", "w"))
"#;

/// A call of the document: the method and the template of the path.
type Call = (String, String);

fn lines() -> Vec<String> {
    let text = std::fs::read_to_string(repository().join("docs/api.md")).expect("docs/api.md");
    let marked =
        text.split("<!-- run by tests/it/journeys/api_calls.rs -->\n```sh\n").nth(1).expect("the marked block");
    let block = marked.split("```").next().expect("its end");
    let lines = block.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.inspect(|line| assert!(line.starts_with("curl "), "{line}")).map(str::to_owned).collect()
}

fn documented(document: &Value) -> BTreeSet<Call> {
    let paths = document["paths"].as_object().expect("paths");
    let calls = |(path, item): (&String, &Value)| -> Vec<Call> {
        item.as_object().expect("operations").keys().map(|method| (method.to_uppercase(), path.clone())).collect()
    };
    paths.iter().flat_map(calls).collect()
}

/// The call of the document that a request is; of several, the one with the fewest parameters.
fn call_of(calls: &BTreeSet<Call>, method: &str, path: &str) -> Call {
    let fits = |template: &str| {
        let (known, given): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        known.len() == given.len() && known.iter().zip(given).all(|(part, text)| part.starts_with('{') || *part == text)
    };
    let fitting = calls.iter().filter(|(known, template)| known == method && fits(template));
    let best = fitting.min_by_key(|(_, template)| template.matches('{').count());
    best.unwrap_or_else(|| panic!("{method} {path} is not in the document")).clone()
}

/// Runs a line as it stands, and returns the status, the method and the path of its request.
fn run(line: &str, variables: &[(&str, &str)]) -> (u16, String, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::symlink(repository().join("examples"), folder.path().join("examples")).expect("a link");
    let told = "\\n%{http_code} %{method} %{url_effective}";
    let script = format!("curl() {{ command curl -sS -m 60 -w '{told}' \"$@\"; }}\n{line}");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder.path()).envs(variables.iter().copied());
    let ended = Finished::of(bash.output().expect("bash runs"));
    assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
    let last = ended.stdout.lines().last().expect("what curl tells");
    let [status, method, url] = last.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("three words");
    let path = url.splitn(4, '/').nth(3).map_or_else(String::new, |path| format!("/{path}"));
    let path = path.split('?').next().unwrap_or_default().to_owned();
    (status.parse().expect("a status"), method.to_owned(), path)
}

#[tokio::test]
async fn each_call_has_a_line_that_runs_as_it_stands() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let submission = alice.submit(LEAVES_A_TABLE).await;
    let job = alice.enqueue(&submission, json!({})).await;
    alice.wait_for(&job, "completed").await;
    let waiting = alice.submit(&gated(&board.gate("never"))).await;
    let waiting = alice.enqueue(&waiting, json!({})).await;

    let calls = documented(&alice.get("/openapi.json").await.body);
    let mut left = calls.clone();
    let auth = format!("Authorization: Bearer {ALICE}");
    for line in lines() {
        let job = if line.contains("/cancel") { &waiting } else { &job };
        let ids = [("SUBMISSION", submission.as_str()), ("JOB", job), ("NAME", "preds.csv")];
        let variables = [&[("SERVER", board.server()), ("AUTH", auth.as_str())][..], &ids].concat();
        let (status, method, path) = run(&line, &variables);
        assert!((200..300).contains(&status), "{line}: {status}");
        left.remove(&call_of(&calls, &method, &path));
    }
    assert!(left.is_empty(), "docs/api.md has no curl line for {left:?}");

    let jobs = alice.get("/jobs").await.body;
    for job in jobs["jobs"].as_array().expect("a list") {
        let id = job["job_id"].as_str().expect("an id");
        alice.wait_for(id, if id == waiting { "cancelled" } else { "completed" }).await;
    }
    all_is_well(&board).await;
}
