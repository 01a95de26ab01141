//! Bodies that are not what their heads say, or never end.

use leadersboard_tests::board::ALICE;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::scaled;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{SOON, answers, refusal, resident_bytes, rest, sent};

const FIVE_GIB: u64 = 5 << 30;

fn head(call: &str, headers: &str) -> String {
    format!("{call} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n{headers}\r\n")
}

#[tokio::test]
async fn bodies_that_lie_about_their_length_or_never_end_are_refused_and_cost_nothing() {
    let roles = Roles::new().await;
    let (api, alice) = roles.api();
    let server = alice.server();
    let resident = || resident_bytes(api.pid());
    let before = resident();

    // A huge length and few bytes: refused by the head alone.
    for (call, headers) in [
        ("POST /jobs", "Content-Type: application/json\r\n"),
        ("POST /submissions", "Content-Type: multipart/form-data; boundary=b\r\n"),
        ("GET /me", ""),
        ("POST /jobs/x/cancel", ""),
    ] {
        let head = head(call, &format!("{headers}Content-Length: {FIVE_GIB}\r\nConnection: close\r\n"));
        let mut connection = sent(server, head.as_bytes()).await;
        let mut answer = vec![0; 4096];
        let read = timeout(scaled(SOON), connection.read(&mut answer)).await.expect("an early answer");
        let answer = String::from_utf8_lossy(&answer[..read.expect("an answer")]).into_owned();
        assert_eq!(refusal(&answer), (413, "too_large".to_owned()), "{call}");
    }

    // The reverse: what comes after a small body is no request.
    let small = head("GET /health", "Content-Length: 3\r\n");
    let more = [small.as_bytes(), &vec![b'x'; 4 << 20]].concat();
    let answer = answers(server, &more).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1 ").count() == 2, "{answer}");
    assert!(answer.contains("HTTP/1.1 414 "), "it is taken for a first line that does not end: {answer}");

    // Chunks without an end: refused after the limit, and not read for ever.
    for call in ["POST /jobs", "POST /submissions"] {
        let kind = if call == "POST /jobs" { "application/json" } else { "multipart/form-data; boundary=b" };
        let head = head(call, &format!("Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"));
        let mut connection = sent(server, head.as_bytes()).await;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let endless = async { while connection.write_all(chunk.as_bytes()).await.is_ok() {} };
        timeout(scaled(SOON), endless).await.expect("the server stops reading");
    }
    // Sizes of chunks that are none.
    for size in ["-1", "ffffffffffffffffff", "1;\n", "0x10", ""] {
        let head = head("POST /jobs", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
        let answer = answers(server, format!("{head}{size}\r\n{{}}\r\n0\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{size:?}: {answer}");
    }

    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "memory has grown by {grown} bytes");
    assert_eq!(alice.get("/me").await.status, 200);
}

/// curl shows the answer that comes while it is still sending.
#[tokio::test]
async fn curl_reads_why_its_body_is_too_large() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("large.json");
    std::fs::write(&file, vec![b' '; 32 << 20]).expect("a file");
    for expect in ["Expect:", "Expect: 100-continue"] {
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "-m", "60", "-H", expect, "-H", "Content-Type: application/json", "--data-binary"]);
        curl.arg(format!("@{}", file.display())).arg("-H").arg(format!("Authorization: Bearer {ALICE}"));
        curl.arg(format!("{}/jobs", alice.server()));
        let ended = tokio::task::spawn_blocking(move || curl.output()).await.expect("a thread").expect("curl runs");
        let told = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success() && told.contains("\"too_large\""), "{expect}: {ended:?}");
        assert!(told.contains("33554432 bytes; this path takes at most 65536"), "{told}");
    }
}

#[tokio::test]
async fn a_request_hidden_in_another_is_never_answered() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let hidden = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len() + 5;
    // By its chunks the body is empty, by its length it is the rest. A proxy before this server may go by either:
    // so nothing after it may count.
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
    ] {
        let request = head("POST /jobs/x/cancel", &headers);
        let answer = answers(alice.server(), format!("{request}0\r\n\r\n{hidden}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    let mut twice =
        sent(alice.server(), head("GET /health", "Content-Length: 0\r\nContent-Length: 5\r\n").as_bytes()).await;
    assert_eq!(refusal(&rest(&mut twice).await), (400, "invalid".to_owned()));
}
