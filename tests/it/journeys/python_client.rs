//! A client that a standard generator makes from the document.

use std::path::Path;
use std::process::Command;

use leadersboard_tests::board::{ALICE, Board, Finished, repository};

use super::all_is_well;

fn run(mut command: Command) -> Finished {
    let ended = Finished::of(command.output().expect("it runs"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

/// The command of docs/api.md that generates the client.
fn generate(folder: &Path, server: &str) -> Command {
    let text = std::fs::read_to_string(repository().join("docs/api.md")).expect("docs/api.md");
    let marked =
        text.split("<!-- run by tests/it/journeys/python_client.rs -->\n```sh\n").nth(1).expect("the commands");
    let mut lines = marked.lines();
    let install = lines.next().expect("a command");
    let pinned = std::fs::read_to_string(repository().join("tests/tools/requirements.txt")).expect("the requirements");
    let wanted = install.split_whitespace().find(|word| word.contains("==")).expect("a version");
    assert!(pinned.lines().any(|line| line == wanted), "{install}");
    let tools = repository().join("target/tools-venv/bin");
    let command = format!("PATH={}:$PATH {}", tools.display(), lines.next().expect("a command"));
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &command]).current_dir(folder).env("SERVER", server);
    bash
}

#[tokio::test]
async fn a_generated_client_submits_watches_and_reads_a_job() {
    let board = Board::start(&[]).await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    run(generate(folder.path(), board.server()));

    let mut client = Command::new(repository().join("target/tools-venv/bin/python"));
    client.arg(repository().join("tests/tools/generated_client.py")).arg(board.server()).arg(ALICE);
    client.arg(repository().join("examples/quickstart"));
    client.env("PYTHONPATH", folder.path().join("leadersboard_client"));
    let ended = run(client);
    assert!(ended.stdout.contains("epoch 20/20") && ended.stdout.contains("image_auc"), "{ended:?}");
    all_is_well(&board).await;
}
