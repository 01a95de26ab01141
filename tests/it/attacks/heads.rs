//! Heads that are too large, or say two things at once.

use leadersboard_tests::board::ALICE;
use leadersboard_tests::roles::Roles;
use reqwest::Method;

use super::{answers, refusal};

#[tokio::test]
async fn heads_that_are_too_large_or_ambiguous_are_refused_in_words() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let get = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    let long = |bytes: usize| format!("/jobs?x={}", "a".repeat(bytes));
    let mebibyte = "a".repeat(1 << 20);
    let cases = [
        ("a header of 1 MiB", get("/me", &format!("Host: x\r\nX: {mebibyte}\r\n")), 431, "headers_too_large"),
        ("101 headers", get("/me", &format!("Host: x\r\n{}", "X: y\r\n".repeat(101))), 431, "headers_too_large"),
        ("a path of 9 KiB", get(&long(9 << 10), "Host: x\r\n"), 414, "uri_too_long"),
        ("a path of 1 MiB", get(&long(1 << 20), "Host: x\r\n"), 414, "uri_too_long"),
        ("no host", get("/health", ""), 400, "invalid"),
        ("two hosts", get("/health", "Host: x\r\nHost: y\r\n"), 400, "invalid"),
        ("a host with a user", get("/health", "Host: x@y\r\n"), 400, "invalid"),
        ("a host with a path", get("/health", "Host: x/y\r\n"), 400, "invalid"),
        ("a target for a proxy", get("http://x/health", "Host: x\r\n"), 400, "invalid"),
        ("a target for another proxy", get("http://evil.example/health", "Host: x\r\n"), 400, "invalid"),
        (
            "a target that is a host",
            "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\nConnection: close\r\n\r\n".to_owned(),
            400,
            "invalid",
        ),
        ("a folded header", get("/health", "Host: x\r\n y\r\n"), 400, "invalid"),
        ("NUL in a header", get("/health", "Host: x\r\nX: a\0b\r\n"), 400, "invalid"),
        ("NUL in a path", get("/hea\0lth", "Host: x\r\n"), 400, "invalid"),
        ("a carriage return in a header", get("/health", "Host: x\r\nX: a\rb\r\n"), 400, "invalid"),
        ("a space before the colon", get("/health", "Host : x\r\n"), 400, "invalid"),
        ("another protocol", "GET / HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(), 400, "invalid"),
    ];
    for (what, request, status, code) in cases {
        assert_eq!(refusal(&answers(alice.server(), request.as_bytes()).await), (status, code.to_owned()), "{what}");
    }
    // As every server takes them: a head whose lines end with a bare line feed is one request, and no more.
    let bare = answers(alice.server(), b"GET /health HTTP/1.1\nHost: x\nConnection: close\n\n").await;
    assert!(bare.starts_with("HTTP/1.1 200 ") && bare.matches("HTTP/1.1 ").count() == 1, "{bare}");
}

#[tokio::test]
async fn a_token_in_an_address_is_refused_on_every_route_and_never_logged() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let (_api, alice) = roles.api_with("api", &[("RUST_LOG", "debug")]);
    for path in ["/me", "/jobs", "/jobs/x/status", "/leaderboard", "/health", "/jobs/x/logs/stream"] {
        for name in ["token", "access_token", "%74oken"] {
            let answer = alice.get(&format!("{path}?{name}={ALICE}")).await;
            assert_eq!((answer.status, &answer.body["code"]), (400, &"invalid".into()), "{path}: {answer:?}");
            assert!(
                answer.detail().contains("Authorization: Bearer") && !answer.detail().contains(ALICE),
                "{answer:?}"
            );
        }
    }
    let log = roles.words("api");
    assert!(log.contains("/leaderboard") && !log.contains(ALICE), "{log}");
}

#[tokio::test]
async fn an_id_of_the_client_is_kept_in_answer_error_and_log_if_it_is_safe() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let (_api, alice) = roles.api_with("api", &[("RUST_LOG", "debug")]);
    let ask = async |id: &str| {
        let answer = alice.request(Method::GET, "/jobs/x").header("x-request-id", id).send().await.expect("an answer");
        let told = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(body["request_id"], *told);
        told
    };
    assert_eq!(ask("build-17/step.3").await, "build-17/step.3");
    for unsafe_id in ["a b", "a\"b", "<script>", "${jndi:ldap://x}", &"x".repeat(129), "\t"] {
        let made = ask(unsafe_id).await;
        assert!(made != unsafe_id && made.len() == 32, "{made}");
    }
    let log = roles.words("api");
    assert!(log.contains("build-17/step.3") && !log.contains("<script>"), "{log}");
}
