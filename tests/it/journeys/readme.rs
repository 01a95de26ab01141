//! What README promises.

use std::process::Command;

use leadersboard_tests::board::{ALICE, Board, Finished, repository};

use super::all_is_well;

#[tokio::test]
async fn its_curl_commands_run_as_they_stand() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("README.md");
    let marked = readme.split("<!-- run by tests/it/journeys/readme.rs -->\n```sh\n").nth(1).expect("the marked block");
    let block = marked.split("```").next().expect("its end");
    assert!(block.contains("http://127.0.0.1:8010") && block.contains("$(cat data/token)"));

    let board = Board::start(&[("MAX_SUBMISSIONS_PER_HOUR", "1")]).await;
    let script = block.replace("http://127.0.0.1:8010", board.server()).replace("$(cat data/token)", ALICE);
    let run = |options: &[&str], script: &str| {
        let mut bash = Command::new("bash");
        bash.args(options).args(["-c", script]).current_dir(repository());
        Finished::of(bash.output().expect("bash runs"))
    };
    let ended = run(&["-euo", "pipefail"], &script);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\"status\":\"completed\""), "{ended:?}");
    assert!(ended.stdout.contains("epoch 20/20") && ended.stdout.contains("\"image_auc\":0.9"), "{ended:?}");

    // Pasted into a shell, they stop at a refusal and show it.
    let limited = run(&[], &script);
    assert_ne!(limited.code, Some(0), "{limited:?}");
    assert!(limited.stderr.contains("\"detail\":") && limited.stderr.contains("jobs_per_hour"), "{limited:?}");
    let unknown = run(&[], &script.replace(ALICE, "wrong"));
    assert_ne!(unknown.code, Some(0), "{unknown:?}");
    assert!(unknown.stderr.contains("\"detail\":"), "{unknown:?}");
    all_is_well(&board).await;
}
