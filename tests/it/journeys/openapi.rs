//! The document of the API, and the pages that show it.

use std::collections::BTreeSet;
use std::process::Command;

use leadersboard_tests::board::{ALICE, Board, Finished, repository};
use leadersboard_tests::client::{Client, http_client};
use reqwest::Method;
use reqwest::header::{ACCEPT, ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

#[tokio::test]
async fn the_document_is_valid_and_tells_each_method_of_each_path() {
    let board = Board::start(&[]).await;
    let http = http_client();
    let text = http.get(format!("{}/openapi.json", board.server())).send().await.expect("an answer");
    let text = text.text().await.expect("a document");
    let file = board.data().join("openapi.json");
    std::fs::write(&file, &text).expect("the data directory is writable");
    let mut validator = Command::new(repository().join("target/tools-venv/bin/openapi-spec-validator"));
    let ended = Finished::of(validator.arg(&file).output().expect("target/tools-venv: scripts/bootstrap.sh makes it"));
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // Relative to the document, so pages work behind a path too.
    assert_eq!(document["servers"], serde_json::json!([{ "url": "." }]));
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    let alice = Client::new(board.server(), ALICE);
    for (path, item) in document["paths"].as_object().expect("paths") {
        let documented: BTreeSet<String> =
            item.as_object().expect("operations").keys().map(|method| method.to_uppercase()).collect();
        let path = path.replace(['{', '}'], "x");
        let refused = alice.request(Method::DELETE, &path).send().await.expect("an answer");
        assert_eq!(refused.status(), 405, "{path}");
        let allowed = refused.headers()[ALLOW].to_str().expect("ASCII");
        let allowed = allowed.split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect();
        assert_eq!(documented, allowed, "{path}");
    }
}

#[tokio::test]
async fn its_pages_need_no_token_and_load_nothing_from_elsewhere() {
    let board = Board::start(&[]).await;
    let http = http_client();
    let get = async |path: &str| {
        let answer = http.get(format!("{}{path}", board.server())).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        answer
    };
    for (path, script) in [("/docs", "swagger-ui-bundle.js"), ("/redoc", "redoc.standalone.js")] {
        // The client follows the address without the slash, and the page without it finds its files.
        let page = get(&format!("{path}/")).await;
        assert_eq!(page.url().path(), path);
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().expect("ASCII").to_owned();
        for directive in policy.split(';').map(str::trim) {
            let (name, sources) = directive.split_once(' ').expect("a directive");
            let allowed: &[&str] = match name {
                "style-src" => &["'self'", "'unsafe-inline'"],
                "img-src" => &["'self'", "data:"],
                "worker-src" => &["blob:"],
                "script-src" | "connect-src" => &["'self'"],
                _ => &["'none'"],
            };
            assert!(sources.split(' ').all(|source| allowed.contains(&source)), "{directive}");
        }
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(page.text().await.expect("a page").contains(script));
        let script = get(&format!("/docs/{script}")).await;
        assert_eq!(script.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(script.bytes().await.expect("a script").len() > 1_000_000);
    }
    let home = http.get(board.server()).header(ACCEPT, "text/html").send().await.expect("an answer");
    let home = home.text().await.expect("a page");
    assert!(home.contains("href=\"docs\"") && home.contains("href=\"redoc\""), "{home}");
    let settings = get("/docs/swagger.js").await.text().await.expect("a script");
    assert!(settings.contains("persistAuthorization: false") && settings.contains("validatorUrl: null"), "{settings}");
}
