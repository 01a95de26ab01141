//! Token files that change while the server runs, and tokens that nobody has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, Finished, ROOT, command};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;

/// How soon a change of a file counts.
const SOON: Duration = Duration::from_secs(10);

/// What `leadersboard token new` prints.
fn new_token(data: &Path, arguments: &[&str]) -> Value {
    let made = command(data).args(["token", "new", "--json"]).args(arguments).output().expect("the binary runs");
    Finished::of(made).json()
}

fn text<'a>(document: &'a Value, name: &str) -> &'a str {
    document[name].as_str().unwrap_or_else(|| panic!("no {name} in {document}"))
}

/// The user and role of a token, or the status of the refusal.
async fn who(server: &str, token: &str) -> String {
    let me = Client::new(server, token).get("/me").await;
    match me.status {
        200 => format!("{} {}", text(&me.body, "user_id"), text(&me.body, "role")),
        status => status.to_string(),
    }
}

#[tokio::test]
async fn token_files_change_while_the_server_runs() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let (users, admins) = (roles.data.path().join("users"), roles.data.path().join("admins"));
    let (bob, root) = (new_token(roles.data.path(), &["bob"]), new_token(roles.data.path(), &["boss", "--admin"]));
    assert!(!bob["line"].to_string().contains(text(&bob, "token")), "{bob}");
    assert_eq!((text(&bob, "variable"), text(&root, "variable")), ("API_TOKENS_FILE", "ADMIN_TOKENS_FILE"));
    fs::write(&users, format!("# people\n{}\n", text(&bob, "line"))).expect("written");
    fs::write(&admins, text(&root, "line")).expect("written");
    let files =
        [("API_TOKENS_FILE", users.to_str().expect("text")), ("ADMIN_TOKENS_FILE", admins.to_str().expect("text"))];
    let (mut api, alice) = roles.api_with("api", &files);
    let server = alice.server();
    assert_eq!(who(server, ALICE).await, "alice user");
    assert_eq!(who(server, text(&bob, "token")).await, "bob user");
    assert_eq!(who(server, text(&root, "token")).await, "boss admin");
    // The hash is no token.
    assert_eq!(who(server, text(&bob, "line")).await, "401");

    // A removed token is refused, and its stream ends. Another's goes on.
    let client = Client::new(server, text(&bob, "token"));
    let stream_of = async |client: &Client| {
        let job = client.run(INSTANT).await;
        let mut stream = client.stream(&format!("/jobs/{job}/stream"), None).await;
        stream.next().await.expect("the status");
        stream
    };
    let (mut bobs, mut alices) = (stream_of(&client).await, stream_of(&alice).await);
    fs::write(roles.data.path().join("next"), "carol:carol-token-0123456789\n").expect("written");
    fs::rename(roles.data.path().join("next"), &users).expect("renamed");
    assert_eq!(bobs.next().await, None);
    assert_eq!(who(server, text(&bob, "token")).await, "401");
    assert_eq!(who(server, "carol-token-0123456789").await, "carol user");

    // A file that can't be used changes nothing, and the log names the place and not the content.
    let bad: [&dyn Fn(); 3] = [
        &|| fs::write(&users, "").expect("written"),
        &|| fs::write(&users, "dave:dave-token\nerin:hunter2 hunter2\n").expect("written"),
        &|| fs::remove_file(&users).expect("removed"),
    ];
    for (break_it, told) in
        bad.iter().zip(["users: the file has no token", "users: line 2: ", "users: the file can't be read"])
    {
        break_it();
        until("the log names the place", SOON, async || roles.words("api").contains(told).then_some(())).await;
        assert_eq!(who(server, "carol-token-0123456789").await, "carol user");
        assert_eq!(who(server, "dave-token").await, "401");
    }
    assert!(!roles.words("api").contains("hunter2"), "{}", roles.words("api"));
    fs::write(&users, format!("{}\n", text(&bob, "line"))).expect("written");
    until_equal("the file counts again", SOON, "bob user".to_owned(), async || who(server, text(&bob, "token")).await)
        .await;

    // SIGHUP is no signal to read files: it ends the role.
    api.signal(Signal::SIGHUP);
    assert_eq!(api.wait(), Some(0), "{}", roles.words("api"));
    assert_eq!(alices.next().await, None);
}

#[tokio::test]
async fn a_token_file_that_can_not_be_used_refuses_the_start() {
    let roles = Roles::new().await;
    let file = roles.data.path().join("tokens");
    let refusal = |variable: &str| {
        let api = roles.command(&["api", "--listen", "127.0.0.1:0"]).env(variable, &file).output();
        let Finished { code, stderr, .. } = Finished::of(api.expect("the binary runs"));
        assert_eq!(code, Some(2), "{stderr}");
        stderr
    };
    assert!(refusal("API_TOKENS_FILE").contains("API_TOKENS_FILE: "), "{}", refusal("API_TOKENS_FILE"));
    for (content, told) in [
        (&b""[..], "tokens: the file has no token"),
        (b"bob:b0b\n\xff\n", "tokens: line 2: the line is not UTF-8"),
        (b"bob:sha256:abc\n", "tokens: line 1: sha256: must be followed by the 64 hexadecimal digits"),
        (format!("bob:{ALICE}").as_bytes(), "tokens: line 1: this token was given to somebody already"),
    ] {
        fs::write(&file, content).expect("written");
        let stderr = refusal("ADMIN_TOKENS_FILE");
        assert!(stderr.contains("ADMIN_TOKENS_FILE: ") && stderr.contains(told), "{told}: {stderr}");
    }
    fs::write(&file, "bob:b0b\n").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("the owner may");
    assert!(refusal("API_TOKENS_FILE").contains("every user of this machine can write to the file"));
}

#[tokio::test]
async fn up_with_hashes_alone_leaves_no_token() {
    let data = tempfile::Builder::new().prefix("lb-up-").tempdir().expect("a temporary directory");
    let (users, carol) = (data.path().join("users"), new_token(data.path(), &["carol"]));
    fs::write(&users, text(&carol, "line")).expect("written");
    let options = [("API_TOKENS", ""), ("ADMIN_TOKENS", ""), ("API_TOKENS_FILE", users.to_str().expect("text"))];
    let mut board = Board::start_in(data, None, &options).await;
    assert_eq!(who(board.server(), text(&carol, "token")).await, "carol user");
    assert_eq!(who(board.server(), "any-token").await, "401");
    let me = Finished::of(command(board.data()).arg("me").output().expect("the binary runs"));
    assert!(me.code != Some(0) && me.stderr.contains("set LEADERSBOARD_TOKEN"), "{me:?}");
    assert!(!board.data().join("token").exists());
    assert_eq!(board.stop(), Some(0), "{}", board.log());
}

#[tokio::test]
async fn failures_count_for_the_address_that_a_trusted_proxy_tells() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let fail = async |client: &Client, forwarded: &str| {
        let wrong = Client::new(client.server(), "wrong-token");
        for _ in 0..4 {
            let request = wrong.request(Method::GET, "/me").header("x-forwarded-for", forwarded);
            assert_eq!(wrong.send(request).await.status, 401);
        }
    };
    let (_behind, behind) = roles.api_with("behind", &[("TRUSTED_PROXIES", "127.0.0.0/8")]);
    fail(&behind, "203.0.113.5, 198.51.100.7").await;
    assert!(roles.words("behind").contains("client=198.51.100.7"), "{}", roles.words("behind"));
    let (_alone, alone) = roles.api_with("alone", &[("TRUSTED_PROXIES", "192.0.2.0/24")]);
    fail(&alone, "198.51.100.7").await;
    assert!(roles.words("alone").contains("client=127.0.0.1"), "{}", roles.words("alone"));
    for server in [behind.server(), alone.server()] {
        assert_eq!(who(server, ALICE).await, "alice user");
        assert_eq!(who(server, ROOT).await, "401");
    }
}
