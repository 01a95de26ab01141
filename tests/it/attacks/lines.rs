//! Texts of clients that try to be lines of the log.

use leadersboard_tests::board::ALICE;
use leadersboard_tests::roles::Roles;
use reqwest::multipart::{Form, Part};

use super::answers;

/// What would begin a line of its own, colour the terminal, or end a string.
const FORGED: [&str; 4] =
    ["\n2026-01-01T00:00:00Z ERROR forged", "\r\nforged", "\u{1b}[31mforged", "\", \"forged\": \"1"];

#[tokio::test]
async fn no_name_path_or_header_forges_a_line_of_the_log() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let apis = ["human", "json"].map(|format| roles.api_with(format, &[("LOG_FORMAT", format), ("RUST_LOG", "debug")]));
    for (_, alice) in &apis {
        for forged in FORGED {
            let encoded = forged.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
            for path in [format!("/{encoded}"), format!("/jobs/{encoded}"), format!("/jobs?user={encoded}")] {
                assert!(alice.get(&path).await.status >= 400, "{path}");
            }
            let program = Part::text("print(1)\n").file_name(format!("a{forged}.py"));
            assert_eq!(alice.upload(Form::new().part("files", program)).await.status, 400);
            let tail = forged.replace(['\r', '\n'], " ");
            let raw = format!(
                "GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\nUser-Agent: {tail}\r\nX-Request-Id: \
                 {tail}\r\nTraceparent: {tail}\r\nConnection: close\r\n\r\n"
            );
            answers(alice.server(), raw.as_bytes()).await;
        }
        assert_eq!(alice.get("/me").await.status, 200);
    }
    let human = roles.words("human");
    assert!(human.lines().count() > 20, "{human}");
    for line in human.lines() {
        assert!(line.starts_with("20") && !line.starts_with("2026-01-01T00:00:00Z"), "{line:?}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    for line in roles.words("json").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(line.get("forged").is_none() && line["fields"].get("forged").is_none(), "{line}");
    }
}
