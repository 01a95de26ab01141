//! TLS: certificates that change, clients that do not speak it, and commands that find their server by its certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leadersboard_tests::board::{ALICE, Board, Finished, command};
use leadersboard_tests::client::http_client;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use reqwest::Certificate;
use tokio::net::TcpStream;

use super::{address, answers, refusal};

const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate that signed itself, and its key, in a folder.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    /// For this name. `as_authority` as `openssl req -x509` makes it.
    fn of(name: &str, as_authority: bool) -> Self {
        let pair = Self { folder: tempfile::tempdir().expect("a folder") };
        let (certificate, key) = made(name, as_authority);
        fs::write(pair.certificate(), certificate).expect("written");
        fs::write(pair.key(), key).expect("written");
        fs::set_permissions(pair.key(), fs::Permissions::from_mode(0o600)).expect("its owner may");
        pair
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        [("TLS_CERT", self.certificate().display().to_string()), ("TLS_KEY", self.key().display().to_string())]
    }
}

fn made(name: &str, as_authority: bool) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    if as_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// The status of an answer over a new connection that accepts this certificate only; `None` if the server shows another.
async fn status(server: &str, certificate: &[u8], path: &str) -> Option<u16> {
    // A provider of cryptography is set up with the first client.
    let _ = http_client();
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([Certificate::from_pem(certificate).expect("PEM")]);
    let client = client.timeout(PATIENCE).build().expect("a client");
    let answer = client.get(format!("{server}{path}")).bearer_auth(ALICE).send().await.ok()?;
    let told = answer.headers().get("strict-transport-security").map(|value| value.to_str().expect("text"));
    assert_eq!(told, Some("max-age=31536000"));
    Some(answer.status().as_u16())
}

#[tokio::test]
async fn a_changed_certificate_is_taken_into_use_and_a_bad_one_is_not() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let pair = Pair::of("127.0.0.1", false);
    let environment = pair.environment();
    let (_api, alice) = roles.api_with("api", &environment.each_ref().map(|(name, value)| (*name, value.as_str())));
    let server = alice.server();
    assert!(server.starts_with("https://"), "{server}");
    let old = fs::read(pair.certificate()).expect("it is there");
    assert_eq!(status(server, &old, "/me").await, Some(200));

    // Clients that say nothing hold nobody up; one that does not speak TLS is told so.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address(server)).await.expect("a connection"));
    }
    assert_eq!(status(server, &old, "/me").await, Some(200));
    let plain = answers(server, b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(refusal(&plain), (400, "tls_required".to_owned()));

    // Half a new pair is none.
    let (certificate, key) = made("127.0.0.1", false);
    fs::write(pair.certificate(), &certificate).expect("written");
    until("the half is refused", PATIENCE, async || {
        roles.words("api").contains("the one before it stays in use").then_some(())
    })
    .await;
    assert_eq!(status(server, &old, "/me").await, Some(200));
    fs::write(pair.key(), key).expect("written");
    until("the new pair is in use", PATIENCE, async || status(server, certificate.as_bytes(), "/me").await).await;
    assert_eq!(status(server, &old, "/me").await, None);
    // Nor is garbage a pair, nor nothing.
    fs::write(pair.certificate(), "garbage").expect("written");
    fs::remove_file(pair.key()).expect("it is there");
    until("both are refused", PATIENCE, async || {
        (roles.words("api").matches("the one before it stays in use").count() >= 2).then_some(())
    })
    .await;
    assert_eq!(status(server, certificate.as_bytes(), "/me").await, Some(200));
    assert!(!roles.words("api").contains("chmod"), "the key is its owner's alone");
}

fn run(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
    Finished::of(command(data).args(arguments).envs(environment.iter().copied()).output().expect("the binary runs"))
}

#[tokio::test]
async fn commands_reach_a_board_that_speaks_tls() {
    // A name that the address does not have, as on a machine that is reached by it from elsewhere.
    let pair = Pair::of("board.example", true);
    fs::set_permissions(pair.key(), fs::Permissions::from_mode(0o644)).expect("its owner may");
    let environment = pair.environment();
    let board = Board::start(&environment.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert!(board.log().contains("chmod 600"), "{}", board.log());
    let me = run(board.data(), &["me", "--json"], &[]);
    assert_eq!((me.code, me.json()["user_id"].as_str()), (Some(0), Some("alice")), "{me:?}");

    // From elsewhere.
    let (elsewhere, other) = (tempfile::tempdir().expect("a folder"), Pair::of("127.0.0.1", true));
    let reach = |server: &str, more: &[(&str, &str)]| {
        let known = [("LEADERSBOARD_URL", server), ("LEADERSBOARD_TOKEN", ALICE)];
        run(elsewhere.path(), &["me"], &[&known, more].concat())
    };
    let unknown = reach(board.server(), &[]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.stderr.contains("--ca-file"), "{}", unknown.stderr);
    let authority = pair.certificate().display().to_string();
    let misnamed = reach(board.server(), &[("LEADERSBOARD_CA_FILE", &authority)]);
    assert_eq!(misnamed.code, Some(3), "its name is checked: {misnamed:?}");
    let other = other.certificate().display().to_string();
    let wrong = reach(board.server(), &[("LEADERSBOARD_CA_FILE", &other)]);
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_accepted_by_its_file() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    for as_authority in [false, true] {
        let pair = Pair::of("127.0.0.1", as_authority);
        let environment = pair.environment();
        let (_api, alice) = roles.api_with("api", &environment.each_ref().map(|(name, value)| (*name, value.as_str())));
        let elsewhere = tempfile::tempdir().expect("a folder");
        let known = [("LEADERSBOARD_URL", alice.server()), ("LEADERSBOARD_TOKEN", ALICE)];
        let file = pair.certificate().display().to_string();
        let me = run(elsewhere.path(), &["me", "--ca-file", &file], &known);
        assert_eq!(me.code, Some(0), "{as_authority}: {me:?}");
    }
}
