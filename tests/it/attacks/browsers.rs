//! What browsers are told: what pages may do with an answer, and whose pages may have it.

use leadersboard_tests::client::http_client;
use leadersboard_tests::roles::Roles;
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::answers;

#[tokio::test]
async fn every_answer_lets_a_browser_do_nothing_with_it() {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    for path in ["/", "/me", "/jobs", "/health", "/metrics", "/jobs/x", "/nowhere", "/me?token=x", "/jobs?limit=0"] {
        let answer = alice.request(Method::GET, path).send().await.expect("an answer");
        let headers = answer.headers();
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(told(headers, name), value, "{path}");
        }
        assert!(!told(headers, "x-request-id").is_empty(), "{path}");
        for absent in ["strict-transport-security", "access-control-allow-origin", "server", "set-cookie"] {
            assert!(!headers.contains_key(absent), "{path}: {absent}");
        }
    }
    // The page of the front door has a style, and nothing else.
    let page = alice.request(Method::GET, "/").header("accept", "text/html").send().await.expect("an answer");
    let policy = told(page.headers(), "content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'unsafe-inline'") && policy.contains("frame-ancestors"));
    let malformed = answers(alice.server(), b"garbage\r\n\r\n").await;
    assert!(malformed.contains("x-content-type-options: nosniff\r\n") && malformed.contains("x-request-id: "));
}

#[tokio::test]
async fn only_pages_of_the_given_origins_may_read_answers() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let (_api, alice) = roles.api_with("api", &[("CORS_ORIGINS", "https://page.example,http://localhost:5173")]);
    let preflight = async |origin: &str| {
        let request = http_client().request(Method::OPTIONS, format!("{}/jobs", alice.server()));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization,content-type");
        request.send().await.expect("an answer")
    };
    for origin in ["https://page.example", "http://localhost:5173"] {
        let answer = preflight(origin).await;
        assert_eq!(answer.status(), 200, "no token is needed to ask");
        let headers = answer.headers();
        assert_eq!(told(headers, "access-control-allow-origin"), origin);
        assert!(told(headers, "access-control-allow-headers").contains("authorization"), "{headers:?}");
        assert!(told(headers, "access-control-allow-methods").contains("POST"), "{headers:?}");
        assert!(varies(headers), "{headers:?}");
        assert!(!headers.contains_key("access-control-allow-credentials"), "{headers:?}");
        // Refusals, too: the page shows why.
        for path in ["/me", "/jobs/x", "/nowhere"] {
            let answer = alice.request(Method::GET, path).header("origin", origin).send().await.expect("an answer");
            let headers = answer.headers();
            assert_eq!(told(headers, "access-control-allow-origin"), origin, "{path}");
            let exposed = told(headers, "access-control-expose-headers");
            for name in ["x-request-id", "retry-after", "content-range", "etag"] {
                assert!(exposed.contains(name), "{exposed}");
            }
        }
    }
    for origin in ["https://evil.example", "null", "https://page.example.evil.example", "http://page.example", "*"] {
        let answer = alice.request(Method::GET, "/me").header("origin", origin).send().await.expect("an answer");
        for headers in [preflight(origin).await.headers(), answer.headers()] {
            assert!(!headers.contains_key("access-control-allow-origin"), "{origin}: {headers:?}");
            assert!(varies(headers), "{headers:?}");
        }
    }
}

fn told<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

fn varies(headers: &HeaderMap) -> bool {
    headers.get_all("vary").iter().any(|value| value.to_str().expect("text").to_ascii_lowercase().contains("origin"))
}
