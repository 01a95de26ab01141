//! Names that lead elsewhere, in every field that takes one: none does, however it is written.

use std::collections::BTreeSet;

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use serde_json::json;

use super::{file, form, good, send_form, send_path, text, uploads};
use leadersboard_tests::programs::INSTANT;

/// Names that lead elsewhere for some reader, without their ending.
const NAMES: [&str; 27] = [
    "../x",
    "../../x",
    "..\\x",
    "/etc/x",
    "\\\\host\\x",
    "C:\\x",
    "C:x",
    "x/../../y",
    "./x",
    "x\0",
    "x\0/../y",
    "..%2fx",
    "%2e%2e%2fx",
    "%2e%2e/x",
    "%252e%252e%252fx",
    "..%5cx",
    "..%c0%afx",
    // Full width, two dots in one character, slashes of mathematics, a dot of zero width between.
    "\u{ff0e}\u{ff0e}\u{ff0f}x",
    "\u{2025}/x",
    "\u{2024}\u{2024}\u{2215}x",
    "..\u{2044}x",
    ".\u{200b}./x",
    "\u{202e}x",
    "CON",
    "NUL",
    "x ",
    "...",
];

/// The files below a folder.
fn tree(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(entry.path().display().to_string());
        if entry.path().is_dir() {
            tree(&entry.path(), found);
        }
    }
}

#[tokio::test]
async fn an_uploaded_file_is_in_its_submissions_folder_under_its_very_name_or_nowhere() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let (mut accepted, mut before) = (Vec::new(), BTreeSet::new());
    tree(&board.data().join("uploads"), &mut before);
    for ending in [".py", ".yaml", ".zip"] {
        for name in NAMES.map(|name| format!("{name}{ending}")) {
            let answer = send_form(&alice, form(&[good(), file(name.as_bytes(), b"not an archive")])).await;
            assert!([201, 400].contains(&answer.status), "{name:?}: {answer:?}");
            let leads_elsewhere = name.contains(['/', '\\', '\0']) || name.starts_with('.');
            assert!(!leads_elsewhere || answer.status == 400, "{name:?}: {answer:?}");
            let Some(id) = answer.body["submission_id"].as_str() else { continue };
            for kept in [name.as_str(), "main.py", "config.yaml", "metadata.json"] {
                before.insert(board.data().join("uploads").join(id).join(kept).display().to_string());
            }
            before.insert(board.data().join("uploads").join(id).display().to_string());
            accepted.push(name);
        }
    }
    // Overlong and broken UTF-8.
    for name in [&b"\xc0\xae\xc0\xae\xc0\xafx.py"[..], b"\xe0\x80\xae\xe0\x80\xae/x.py", b"\xff.py", b"x.py\xc0\x80"] {
        assert_eq!(send_form(&alice, form(&[good(), file(name, b"1")])).await.status, 400, "{name:?}");
    }
    let mut after = BTreeSet::new();
    tree(&board.data().join("uploads"), &mut after);
    assert_eq!(after, before);
    assert!(accepted.contains(&"%2e%2e%2fx.py".to_owned()), "a name is no URL: {accepted:?}");
}

#[tokio::test]
async fn an_entrypoint_and_a_config_name_what_was_uploaded_and_nothing_else() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let before = uploads(&board);
    for (field, ending) in [("entrypoint", ".py"), ("config_file", ".yaml")] {
        for name in NAMES.iter().chain(&["main", "config", "x/main", "x/config"]) {
            for name in [format!("{name}{ending}"), format!("{name}/main{ending}"), format!("{name}{ending} ")] {
                if ["main.py", "config.yaml"].contains(&name.as_str()) {
                    continue;
                }
                let answer = send_form(&alice, form(&[good(), text(field, &name)])).await;
                assert_eq!(answer.status, 400, "{field} {name:?}: {answer:?}");
                assert!(answer.detail().contains(field), "{field} {name:?}: {answer:?}");
            }
        }
    }
    assert_eq!(uploads(&board), before);
}

#[tokio::test]
async fn what_a_url_names_is_looked_up_and_never_walked_to() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let picture = "open(output + '/x_heatmap.png', 'wb').write(b'heat')";
    let job = alice.run(&format!("{INSTANT}\n{picture}")).await;
    alice.wait_for(&job, "completed").await;
    for known in ["artifacts/metrics.json", "artifacts/%6detrics.json", "visualizations/x_heatmap.png"] {
        assert_eq!(send_path(&board, "GET", &format!("/jobs/{job}/{known}")).await.0, 200, "{known}");
    }
    let names = [
        "../metrics.json",
        "..%2fmetrics.json",
        "%2e%2e%2fmetrics.json",
        "%2e%2e/metrics.json",
        "%252e%252e%252fmetrics.json",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "..%5c..%5cmetrics.json",
        "%c0%ae%c0%ae%c0%afmetrics.json",
        "%ef%bc%8e%ef%bc%8e%ef%bc%8fmetrics.json",
        "%e2%80%a5%2fmetrics.json",
        "./metrics.json",
        "%2e/metrics.json",
        "metrics.json%00",
        "metrics.json%00.png",
        "metrics.json/",
        "metrics.json%2f",
        "metrics.json%20",
        "metrics.json.",
        "METRICS.JSON",
        "metrics%00/../metrics.json",
        "metrics.json%0d%0aX-Injected:%20yes",
        "%ff%fe",
        "%",
        "%zz",
        "*",
        "%2a",
    ];
    for folder in ["artifacts", "visualizations"] {
        for name in names {
            let (status, answer) = send_path(&board, "GET", &format!("/jobs/{job}/{folder}/{name}")).await;
            assert!([400, 404].contains(&status), "{folder}/{name}: {answer}");
            assert!(!answer.to_lowercase().contains("\r\nx-injected"), "{folder}/{name}: {answer}");
        }
    }
    for path in [
        "/jobs/../jobs",
        "/jobs/%2e%2e/jobs",
        "//jobs",
        "/jobs/",
        "/./jobs",
        "/jobs%2f",
        "/JOBS",
        "/jobs\\x",
        "/jobs;x",
        "/%6aobs",
    ] {
        let (status, answer) = send_path(&board, "GET", path).await;
        assert!([400, 404].contains(&status), "{path}: {answer}");
    }
}

#[tokio::test]
async fn nothing_that_a_client_names_writes_a_line_of_the_log() {
    let board = Board::start(&[("RUST_LOG", "debug,hyper=info")]).await;
    let alice = Client::new(board.server(), ALICE);
    let evil = "x\n2026-01-31T12:00:00Z  INFO injected\r\u{1b}[31m\u{85}\u{2028}.py";
    let encoded = "x%0A2026-01-31T12:00:00Z%20%20INFO%20injected%0D%1B%5B31m.py";
    // A quoted name may not hold a line end, so it is sent in the other form as well.
    let star = format!("form-data; name=\"files\"; filename*=UTF-8''{encoded}");
    for body in [
        form(&[good(), file(evil.as_bytes(), b"1")]),
        form(&[good(), super::part(&star, b"1")]),
        form(&[good(), text("entrypoint", evil)]),
        form(&[good(), text("config_file", evil)]),
        form(&[good(), text(&evil.replace(['\n', '\r'], "\u{1}"), "1")]),
        form(&[good(), text("metadata", evil)]),
    ] {
        let answer = send_form(&alice, body).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(!answer.detail().contains(['\n', '\r', '\u{1b}']), "{answer:?}");
    }
    let metadata = json!({ evil: evil }).to_string();
    assert_eq!(send_form(&alice, form(&[good(), text("metadata", &metadata)])).await.status, 201);
    let unknown = alice.post("/jobs", &json!({ "submission_id": evil, evil: 1 })).await;
    assert_eq!(unknown.status, 400, "{unknown:?}");
    for path in [
        format!("/jobs/{encoded}"),
        format!("/jobs?user={encoded}"),
        format!("/jobs?{encoded}=1"),
        format!("/{encoded}"),
        format!("/leaderboard?metric={encoded}"),
    ] {
        let (status, _) = send_path(&board, "GET", &path).await;
        assert!((200..500).contains(&status), "{path}: {status}");
    }
    // A program's own names, in its output directory and its log.
    let program =
        format!("{INSTANT}\nopen(output + '/x\\n2026-01-31T12:00:00Z  INFO injected\\x1b[31m.png', 'w').write('1')\n");
    let job = alice.run(&program).await;
    alice.wait_for(&job, "completed").await;
    let log = board.log();
    assert!(log.contains("answered"), "the log says what is asked");
    assert!(!log.contains(['\u{1b}', '\r', '\u{85}', '\u{2028}']), "{log:?}");
    let forged = log.lines().find(|line| line.starts_with("2026-01-31") || line.starts_with('x'));
    assert_eq!(forged, None);
}
