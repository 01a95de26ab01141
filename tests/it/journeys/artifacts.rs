//! What a job left: listed, fetched in whole and in part, and its own user's alone.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use leadersboard_tests::board::{ALICE, BOB, Board, ROOT, command};
use leadersboard_tests::client::Client;
use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{INSTANT, all_is_well};

/// Leaves pictures, a model of a MiB and more, a link to what is nobody's business, and a folder that is closed.
const LEAVES_FILES: &str = r#"
import os, socket, sys
output = sys.argv[sys.argv.index("--output") + 1]
for folder in ["visualizations", "runs/a", "closed"]:
    os.makedirs(output + "/" + folder)
def write(path, content):
    with open(output + "/" + path, "wb") as file: file.write(content)
write("visualizations/x_heatmap.png", b"heat")
write("visualizations/notes.txt", b"notes")
write("runs/a/x_heatmap.png", b"another heat")
write("runs/a/y_mask.png", b"mask")
write("report.html", b"<script>alert(1)</script>")
write("model \u00e9.pt", bytes(range(256)) * 5000)
write("empty", b"")
os.symlink("/etc/passwd", output + "/passwd")
os.mkfifo(output + "/pipe")
os.chdir(output)
socket.socket(socket.AF_UNIX).bind("socket")
os.chmod(output + "/closed", 0)
os.chmod(output, 0o300)
"#;

fn leaving(files: &str) -> String {
    // The metrics first: what follows may close the folder.
    format!("{INSTANT}\n{files}")
}

async fn fetch(client: &Client, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let request =
        headers.iter().fold(client.request(Method::GET, path), |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.expect("a body").to_vec())
}

fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let mut files = BTreeMap::new();
    for entry in tar.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        files.insert(entry.path().expect("a path").to_str().expect("UTF-8").to_owned(), content);
    }
    files
}

fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().map(|entry| entry[key].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn names_and_links_that_training_loops_make_cost_no_word_in_the_log() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let links = r#"
import os, sys
os.chdir(sys.argv[sys.argv.index("--output") + 1])
os.makedirs("runs/version_0")
with open("runs/version_0/epoch=9.ckpt", "w") as file: file.write("weights")
os.link("runs/version_0/epoch=9.ckpt", "best.ckpt")
os.symlink("epoch=9.ckpt", "runs/version_0/last.ckpt")
os.symlink(os.path.abspath("runs/version_0"), "runs/latest")
"#;
    let job = alice.run(&leaving(links)).await;
    alice.wait_for(&job, "completed").await;
    let list = alice.get(&format!("/jobs/{job}/artifacts")).await.body;
    assert_eq!(names(&list["artifacts"], "path"), ["best.ckpt", "metrics.json", "runs/version_0/epoch=9.ckpt"]);
    assert_eq!(names(&list["skipped"], "path"), ["runs/latest", "runs/version_0/last.ckpt"]);
    let (_, _, best) = fetch(&alice, &format!("/jobs/{job}/artifacts/best.ckpt"), &[]).await;
    assert_eq!(best, b"weights");
    let log = alice.get(&format!("/jobs/{job}/logs")).await.body;
    assert!(!log["logs"].as_str().expect("a log").contains("[leadersboard]"), "{log}");
    all_is_well(&board).await;
}

#[tokio::test]
async fn what_a_job_left_is_listed_and_fetched_by_its_user_and_by_nobody_else() {
    let board = Board::start(&[]).await;
    let [alice, bob, root] = [ALICE, BOB, ROOT].map(|token| Client::new(board.server(), token));
    let job = alice.run(&leaving(LEAVES_FILES)).await;
    alice.wait_for(&job, "completed").await;

    let list = alice.get(&format!("/jobs/{job}/artifacts")).await.body;
    let paths = [
        "empty",
        "metrics.json",
        "model \u{e9}.pt",
        "report.html",
        "runs/a/x_heatmap.png",
        "runs/a/y_mask.png",
        "visualizations/notes.txt",
        "visualizations/x_heatmap.png",
    ];
    assert_eq!(names(&list["artifacts"], "path"), paths);
    assert_eq!(list["count"], 8);
    let skipped = names(&list["skipped"], "path");
    assert!(["passwd", "pipe", "socket"].iter().all(|name| skipped.contains(name)), "{list:#}");
    let events = alice.get(&format!("/jobs/{job}/events")).await.body;
    let told = json!({ "count": 8, "bytes": list["bytes"], "digest": list["digest"] });
    assert_eq!(events["events"][2]["data"]["artifacts"], told);
    let log = alice.get(&format!("/jobs/{job}/logs")).await.body;
    assert!(log["logs"].as_str().expect("a log").contains("not all of --output is kept"), "{log}");

    let mut fetched = BTreeMap::new();
    for file in list["artifacts"].as_array().expect("a list") {
        let (status, headers, content) = fetch(&alice, file["url"].as_str().expect("an address"), &[]).await;
        assert_eq!((status, content.len() as u64), (StatusCode::OK, file["bytes"].as_u64().expect("a size")));
        assert_eq!(headers["etag"], format!("\"{}\"", file["sha256"].as_str().expect("a digest")));
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(headers["content-security-policy"].to_str().expect("text").starts_with("sandbox;"));
        fetched.insert(file["path"].as_str().expect("a path").to_owned(), content);
    }
    assert_eq!(fetched["report.html"], b"<script>alert(1)</script>");
    let (_, headers, archive) = fetch(&alice, &format!("/jobs/{job}/artifacts.tar.gz"), &[]).await;
    assert_eq!(headers["content-type"], "application/gzip");
    assert_eq!(unpacked(&archive), fetched);

    let html = format!("/jobs/{job}/artifacts/report.html");
    let disposition = fetch(&alice, &html, &[]).await.1["content-disposition"].to_str().expect("text").to_owned();
    assert!(disposition.starts_with("attachment;"), "{disposition}");
    for path in ["", "/report.html", ".tar.gz"].map(|rest| format!("/jobs/{job}/artifacts{rest}")) {
        assert_eq!(bob.get(&path).await.status, 404, "{path}");
        assert_eq!(fetch(&root, &path, &[]).await.0, StatusCode::OK, "{path}");
    }
    let outside =
        ["passwd", "pipe", "nothing", "..%2f..%2fmanifest.json", "%2fetc%2fpasswd", "runs", "runs%2fa", "%ff"];
    for path in outside {
        assert_eq!(
            fetch(&alice, &format!("/jobs/{job}/artifacts/{path}"), &[]).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_part_of_a_file_is_answered_as_asked() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&leaving(LEAVES_FILES)).await;
    alice.wait_for(&job, "completed").await;
    let url = format!("/jobs/{job}/artifacts/model%20%C3%A9.pt");
    let (_, headers, whole) = fetch(&alice, &url, &[]).await;
    let etag = headers["etag"].to_str().expect("a tag").to_owned();
    assert_eq!((whole.len(), headers["accept-ranges"].to_str().expect("text")), (1_280_000, "bytes"));

    let (status, headers, part) = fetch(&alice, &url, &[("range", "bytes=300-299999"), ("if-range", &etag)]).await;
    assert_eq!(
        (status, headers["content-range"].to_str().expect("text")),
        (StatusCode::PARTIAL_CONTENT, "bytes 300-299999/1280000")
    );
    assert_eq!(part, whole[300..300_000]);
    let (status, _, part) = fetch(&alice, &url, &[("range", "bytes=-7")]).await;
    assert_eq!((status, part), (StatusCode::PARTIAL_CONTENT, whole[1_279_993..].to_vec()));
    let (status, _, part) = fetch(&alice, &url, &[("range", "bytes=5-9"), ("if-range", "\"old\"")]).await;
    assert_eq!((status, part.len()), (StatusCode::OK, whole.len()), "of another version all is sent");
    let (status, headers, body) = fetch(&alice, &url, &[("range", "bytes=1280000-")]).await;
    assert_eq!(
        (status, headers["content-range"].to_str().expect("text")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */1280000")
    );
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["code"], "range_not_satisfiable");
    let (status, _, body) = fetch(&alice, &url, &[("if-none-match", &etag)]).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    let head = alice.request(Method::HEAD, &url).header(RANGE, "bytes=0-9").send().await.expect("an answer");
    assert_eq!((head.status(), head.headers()["content-length"].to_str().expect("text")), (StatusCode::OK, "1280000"));
    all_is_well(&board).await;
}

#[tokio::test]
async fn pictures_from_anywhere_are_visualizations() {
    let board = Board::start(&[]).await;
    let [alice, bob] = [ALICE, BOB].map(|token| Client::new(board.server(), token));
    let tables =
        "\nfor name in ['preds.csv', 'zoë 1.csv', 'runs/deep.csv', 'LOUD.CSV']:\n    open(name, 'w').write(name)\n";
    let job = alice.run(&format!("{}{tables}", leaving(LEAVES_FILES))).await;
    alice.wait_for(&job, "completed").await;
    let shown = alice.get(&format!("/jobs/{job}/visualizations")).await.body;
    let url = |name: &str| format!("/jobs/{job}/visualizations/{name}");
    let entry = |name: &str, kind: &str| json!({ "filename": name, "artifact_type": kind, "url": url(name) });
    let wanted = [
        entry("notes.txt", "unknown"),
        entry("runs_a_x_heatmap.png", "heatmap"),
        entry("x_heatmap.png", "heatmap"),
        entry("y_mask.png", "mask"),
    ];
    assert_eq!(shown, json!({ "job_id": job, "artifacts": wanted, "csv_files": ["preds.csv", "zoë 1.csv"] }));
    for (name, content) in [("preds.csv", "preds.csv"), ("zo%C3%AB%201.csv", "zoë 1.csv")] {
        let (status, headers, body) = fetch(&alice, &url(name), &[]).await;
        assert_eq!((status, body), (StatusCode::OK, content.as_bytes().to_vec()), "{name}");
        assert!(headers["content-type"].to_str().expect("text").starts_with("text/csv"), "{headers:?}");
    }
    for (name, content) in [("runs_a_x_heatmap.png", "another heat"), ("x_heatmap.png", "heat"), ("y_mask.png", "mask")]
    {
        let (status, headers, body) = fetch(&alice, &url(name), &[]).await;
        assert_eq!((status, body), (StatusCode::OK, content.as_bytes().to_vec()), "{name}");
        assert_eq!(headers["content-type"], "image/png");
        assert_eq!(bob.get(&url(name)).await.status, 404);
    }
    for nothing in ["model.pt", "a_y_mask.png", "..%2fmetrics.json", "deep.csv", "LOUD.CSV", "runs%2Fdeep.csv"] {
        assert_eq!(alice.get(&url(nothing)).await.status, 404, "{nothing}");
    }
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_that_failed_leaves_its_files_and_one_that_has_not_ended_none() {
    let board = Board::start(&[("LEASE", "2s")]).await;
    let alice = Client::new(board.server(), ALICE);
    let failed = alice.run(&format!("{}\nraise SystemExit(3)\n", leaving(LEAVES_FILES))).await;
    alice.wait_for(&failed, "failed").await;
    let list = alice.get(&format!("/jobs/{failed}/artifacts")).await.body;
    assert_eq!(list["count"], 8, "{list:#}");
    let (status, _, content) = fetch(&alice, &format!("/jobs/{failed}/artifacts/runs/a/y_mask.png"), &[]).await;
    assert_eq!((status, content), (StatusCode::OK, b"mask".to_vec()));
    let shown = alice.get(&format!("/jobs/{failed}/visualizations")).await;
    assert_eq!((shown.status, &shown.body["artifacts"]), (200, &json!([])), "empty until completed");

    let running = alice.run(&format!("{}\nimport time\ntime.sleep(300)\n", leaving(LEAVES_FILES))).await;
    alice.wait_for(&running, "running").await;
    for kind in ["artifacts", "visualizations"] {
        let answer = alice.get(&format!("/jobs/{running}/{kind}")).await;
        assert_eq!((answer.status, &answer.body["artifacts"]), (200, &json!([])), "{kind}");
    }
    let (status, _, archive) = fetch(&alice, &format!("/jobs/{running}/artifacts.tar.gz"), &[]).await;
    assert_eq!((status, unpacked(&archive).len()), (StatusCode::OK, 0));
    alice.post(&format!("/jobs/{running}/cancel"), &json!({})).await;
    alice.wait_for(&running, "cancelled").await;
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_job_that_leaves_too_much_completes_with_a_cut_that_is_told_and_its_worker_goes_on() {
    let board = Board::start(&[("ARTIFACT_FILES", "200"), ("ARTIFACT_LIMIT", "1MiB")]).await;
    let alice = Client::new(board.server(), ALICE);
    let many = "import os\nfor n in range(3000): open(f'{output}/{n:05}', 'w').close()\n";
    let large = "open(output + '/large', 'wb').truncate(1 << 30)\n";
    let job = alice.run(&leaving(&format!("{many}{large}"))).await;
    alice.wait_for(&job, "completed").await;
    let list = alice.get(&format!("/jobs/{job}/artifacts")).await.body;
    assert_eq!((&list["count"], &list["left_out_count"]), (&json!(200), &json!(2802)), "{}", list["skipped"]);
    assert!(names(&list["artifacts"], "path").contains(&"metrics.json"));
    let job = alice.run(&leaving(large)).await;
    alice.wait_for(&job, "completed").await;
    let list = alice.get(&format!("/jobs/{job}/artifacts")).await.body;
    assert_eq!(names(&list["artifacts"], "path"), ["metrics.json"]);
    assert!(list["skipped"][0]["reason"].as_str().expect("a reason").contains("1 MiB"), "{list:#}");
    all_is_well(&board).await;
}

#[tokio::test]
async fn a_shell_lists_and_fetches_what_a_job_left() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&leaving(LEAVES_FILES)).await;
    alice.wait_for(&job, "completed").await;
    let listed = board.run(["jobs", "artifacts", &job]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.stdout.contains("runs/a/y_mask.png") && listed.stderr.contains("symbolic link"), "{listed:?}");
    assert_eq!(board.run(["jobs", "artifacts", &job, "--json"]).json()["count"], 8);

    let folder = tempfile::tempdir().expect("a directory");
    let to = folder.path().join("in");
    let download = |more: &[&str]| {
        let mut download = command(board.data());
        download.args(["jobs", "download", &job, "--json", "--to"]).arg(&to).args(more);
        leadersboard_tests::board::Finished::of(
            download
                .env("LEADERSBOARD_URL", board.server())
                .env("LEADERSBOARD_TOKEN", ALICE)
                .output()
                .expect("the binary runs"),
        )
    };
    assert_eq!(download(&["runs"]).json()["downloaded"], 2);
    let rest = download(&[]).json();
    assert_eq!((&rest["downloaded"], &rest["present"]), (&json!(6), &json!(2)), "{rest}");
    for path in ["model \u{e9}.pt", "runs/a/y_mask.png", "empty", "metrics.json"] {
        let content = std::fs::read(to.join(path)).expect(path);
        let url = format!("/jobs/{job}/artifacts/{}", path.replace(' ', "%20").replace('\u{e9}', "%C3%A9"));
        assert_eq!(content, fetch(&alice, &url, &[]).await.2, "{path}");
    }
    std::fs::write(to.join("empty"), "mine").expect("written");
    let refused = download(&[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(download(&["nothing"]).code, Some(2));
    assert_eq!(download(&["--force"]).json()["downloaded"], 1);
    all_is_well(&board).await;
}
