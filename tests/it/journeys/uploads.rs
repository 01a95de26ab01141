//! Uploads in flight: how many, how large together, and what is left of broken ones, over two API hosts.

use std::time::Duration;

use leadersboard_tests::board::{ALICE, Finished};
use leadersboard_tests::client::{Client, files};
use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::wait::{scaled, until, until_equal};
use projections::Keyspace;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::INSTANT;
use super::limits::{Pair, uploads};

const SOON: Duration = Duration::from_secs(10);

/// An upload that is sent by hand, in chunks.
struct ByHand(TcpStream);

impl ByHand {
    /// Begins an upload of a program, whose length it does not announce.
    async fn begin(server: &str, headers: &str) -> Self {
        let address = server.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST /submissions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ALICE}\r\n{headers}\
             Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.expect("a head");
        let mut upload = Self(connection);
        upload.send(b"--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"main.py\"\r\n\r\n").await;
        upload
    }

    /// Sends some more of the program. It may have been refused meanwhile.
    async fn send(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let _ = self.0.write_all(&chunk).await;
    }

    /// Ends the program, adds a config, and gives the status and the body of the answer.
    async fn end(mut self) -> (u16, Value) {
        self.send(
            b"\r\n--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"config.yaml\"\r\n\r\n\r\n--b--\r\n",
        )
        .await;
        let _ = self.0.write_all(b"0\r\n\r\n").await;
        self.answer().await
    }

    async fn answer(&mut self) -> (u16, Value) {
        // Not to the end of the connection: the server goes on reading what it has refused, for a while.
        let read = async {
            let mut answer = Vec::new();
            loop {
                let read = self.0.read_buf(&mut answer).await.expect("an answer");
                let text = String::from_utf8_lossy(&answer).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    return (status.expect("a status"), body);
                }
                assert!(read > 0, "the answer is cut: {text:?}");
            }
        };
        tokio::time::timeout(scaled(SOON), read).await.expect("an answer in time")
    }
}

/// The uploads in flight of the client's user, by `GET /me`.
async fn in_flight(client: &Client) -> Value {
    client.get("/me").await.body["uploads_in_flight"]["used"].clone()
}

fn staged(pair: &Pair) -> usize {
    std::fs::read_dir(pair.roles.data.path().join("uploads/.staging")).expect("staging").count()
}

/// The bytes of all programs that are staged.
fn staged_bytes(pair: &Pair) -> u64 {
    let folders = std::fs::read_dir(pair.roles.data.path().join("uploads/.staging")).expect("staging").flatten();
    folders.filter_map(|folder| Some(folder.path().join("main.py").metadata().ok()?.len())).sum()
}

#[tokio::test]
async fn a_user_has_so_many_uploads_in_flight_over_all_hosts() {
    let pair = Pair::start(&[("MAX_UPLOADS_IN_FLIGHT", "2")]).await;
    let [alice, other] = &pair.alice;
    let held = [ByHand::begin(alice.server(), "").await, ByHand::begin(other.server(), "").await];
    for client in &pair.alice {
        until_equal("both are in flight", SOON, json!(2), async || in_flight(client).await).await;
        let refused = client.upload(files(&[("main.py", INSTANT), ("config.yaml", "")])).await;
        let of = |key: &str| &refused.body[key];
        assert_eq!((refused.status, of("code")), (429, &json!("uploads_in_flight")), "{refused:?}");
        assert_eq!((of("limit"), of("remaining"), of("reset_at")), (&json!(2), &json!(0), &Value::Null), "{refused:?}");
        assert!(refused.retry_after.is_some_and(|seconds| seconds > 0), "{refused:?}");
    }
    pair.bob().submit(INSTANT).await;
    let [first, second] = held;
    assert_eq!(first.end().await.0, 201);
    // What was refused had no place, what has ended has none, and what was refused for its content has none.
    for _ in 0..3 {
        alice.submit(INSTANT).await;
        assert_eq!(other.upload(files(&[("main.txt", "")])).await.status, 400);
    }
    drop(second);
    until_equal("a client that hung up frees its place", SOON, json!(0), async || in_flight(alice).await).await;
    assert_eq!(staged(&pair), 0);
    check(&pair.roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn uploads_in_flight_never_pass_the_quota_together() {
    let pair = Pair::start(&[("MAX_STORED_BYTES_PER_USER", "3000000")]).await;
    let [alice, other] = &pair.alice;
    let mut first = ByHand::begin(alice.server(), "").await;
    first.send(&vec![b'#'; 2_000_000]).await;
    // Until its bytes are taken, they could be the other's.
    until("the first is staged", SOON, async || (staged_bytes(&pair) >= 1_900_000).then_some(())).await;
    let mut second = ByHand::begin(other.server(), "").await;
    until_equal("both are in flight", SOON, json!(2), async || in_flight(alice).await).await;
    // Refused as soon as the sum passes, while more of it comes.
    for _ in 0..10 {
        second.send(&vec![b'#'; 200_000]).await;
    }
    let (status, refused) = second.answer().await;
    assert_eq!(
        (status, &refused["code"], &refused["limit"]),
        (429, &json!("stored_bytes"), &json!(3_000_000)),
        "{refused}"
    );
    let detail = refused["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("nothing of this upload was kept: ") && detail.contains("in flight have"), "{detail}");
    until_equal("nothing of it is there", SOON, 1, async || staged(&pair)).await;
    assert_eq!(first.end().await.0, 201);
    // What is stored counts once: the rest fits, to the byte.
    let left = alice.get("/me").await.body["stored_bytes"]["remaining"].as_u64().expect("a number");
    let rest = usize::try_from(left).expect("it fits");
    let too_much = other.upload(files(&[("main.py", &"#".repeat(rest + 1)), ("config.yaml", "")])).await;
    assert_eq!((too_much.status, &too_much.body["code"]), (429, &json!("stored_bytes")), "{too_much:?}");
    let exact = other.upload(files(&[("main.py", &"#".repeat(rest)), ("config.yaml", "")])).await;
    assert_eq!(exact.status, 201, "{exact:?}");
    assert_eq!(uploads(&pair.roles).len(), 2);
    check(&pair.roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn the_retry_of_a_broken_upload_takes_the_place_of_its_first_try() {
    let pair = Pair::start(&[("MAX_UPLOADS_IN_FLIGHT", "1"), ("MAX_STORED_BYTES_PER_USER", "3000000")]).await;
    let [alice, other] = &pair.alice;
    let program = "#".repeat(2_000_000);
    let mut broken = ByHand::begin(alice.server(), "Idempotency-Key: k\r\n").await;
    broken.send(&program.as_bytes()[..1_900_000]).await;
    until_equal("it is in flight", SOON, json!(1), async || in_flight(other).await).await;
    let form = || files(&[("main.py", &program), ("config.yaml", "")]);
    let again = || other.request(Method::POST, "/submissions").header("Idempotency-Key", "k").multipart(form());
    let kept = other.send(again()).await;
    assert_eq!(kept.status, 201, "its first try still holds a place, and most of the quota: {kept:?}");
    // The first try comes back to life.
    broken.send(&program.as_bytes()[1_900_000..]).await;
    assert_eq!(broken.end().await, (201, kept.body.clone()));
    assert_eq!(other.send(again()).await, kept, "the quota is used up, by this very upload");
    assert_eq!((uploads(&pair.roles).len(), staged(&pair)), (1, 0));
    check(&pair.roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn an_upload_that_can_not_be_counted_is_not_kept() {
    let pair = Pair::start(&[]).await;
    let [alice, _] = &pair.alice;
    let mut upload = ByHand::begin(alice.server(), "").await;
    until_equal("it is in flight", SOON, json!(1), async || in_flight(alice).await).await;
    // Redis takes nothing more in.
    let limit = async |bytes: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg(&["SET", "maxmemory", bytes]);
        set.query_async::<()>(&mut pair.roles.redis.connection().await).await.expect("set");
    };
    limit("1").await;
    for _ in 0..10 {
        upload.send(&vec![b'#'; 1 << 20]).await;
    }
    let (status, refused) = upload.answer().await;
    limit("0").await;
    assert_eq!((status, &refused["code"]), (503, &json!("full")), "{refused}");
    let detail = refused["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("nothing of this upload was kept: Redis is at its memory limit"), "{detail}");
    until_equal("nothing of it is there", SOON, 0, async || staged(&pair)).await;
    until_equal("its place is free", SOON, json!(0), async || in_flight(alice).await).await;
    check(&pair.roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await;
}

#[tokio::test]
async fn a_broken_upload_says_that_nothing_was_kept() {
    let pair = Pair::start(&[]).await;
    let [alice, _] = &pair.alice;
    let cut = "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"main.py\"\r\n\r\nprint(1)";
    let request = alice.request(Method::POST, "/submissions").header("content-type", "multipart/form-data; boundary=b");
    let answer = alice.send(request.body(cut)).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.detail().starts_with("nothing of this upload was kept: the form is cut off"), "{answer:?}");
    assert_eq!((uploads(&pair.roles).len(), staged(&pair)), (0, 0));
}

/// Cuts its first connection after so many bytes, and passes all others on.
async fn cut_first(server: &str, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let upstream = server.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.expect("a connection");
        first.read_exact(&mut vec![0; after]).await.expect("the beginning of an upload");
        drop(first);
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&upstream).await.expect("a connection");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    address
}

#[tokio::test]
async fn the_command_line_sends_a_broken_upload_again_and_makes_one_submission() {
    let pair = Pair::start(&[]).await;
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("main.py"), format!("{INSTANT}\n#{}", "x".repeat(3 << 20))).expect("a file");
    std::fs::write(folder.path().join("config.yaml"), "seed: 1\n").expect("a file");
    let address = cut_first(pair.alice[0].server(), 1 << 20).await;
    let mut submit = pair.roles.command(&["submit"]);
    submit.arg(folder.path()).env("LEADERSBOARD_URL", address).env("LEADERSBOARD_TOKEN", ALICE);
    let submitted = tokio::task::spawn_blocking(move || Finished::of(submit.output().expect("the binary runs")));
    let submitted = submitted.await.expect("it ends");
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert!(
        submitted.stderr.contains("the upload failed: ") && submitted.stderr.contains("(try 2 of 6)"),
        "{submitted:?}"
    );
    let log = check(&pair.roles.redis.url(), &Keyspace::default(), Expect::SomeOpen).await;
    assert_eq!((log.submissions.len(), log.jobs.len()), (1, 1));
    until("the place is free", SOON, async || (in_flight(&pair.alice[0]).await == json!(0)).then_some(())).await;
}
