//! Who may do what: every route, asked by every kind of caller.

use std::collections::BTreeSet;
use std::time::Duration;

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT};
use leadersboard_tests::client::{Answer, Client, files, http_client};
use leadersboard_tests::programs::gated;
use leadersboard_tests::wait::scaled;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{INSTANT, all_is_well};

const UNKNOWN: &str = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Nothing that has an owner.
    Nothing,
    /// A submission of Alice's, named in the path.
    Submission,
    /// A submission of Alice's, named in the body.
    NamedSubmission,
    /// A job of Alice's that has completed.
    Finished,
    /// A job of Alice's that runs.
    Running,
}

/// The answers to the owner, to another user, to an administrator, without a token, and with a wrong one.
type Statuses = [u16; 5];

/// Needs no token.
const OPEN: Statuses = [200; 5];
/// Is each user's own, or everybody's.
const USERS: Statuses = [200, 200, 200, 401, 401];
/// Is the owner's and the administrators'.
const OWNERS: Statuses = [200, 404, 200, 401, 401];

/// Every route, with what fills its path. A route that has no row here fails the test.
const TABLE: &[(&str, &str, Of, Statuses)] = &[
    ("GET", "/", Of::Nothing, OPEN),
    ("GET", "/health", Of::Nothing, OPEN),
    ("GET", "/health/live", Of::Nothing, OPEN),
    ("GET", "/health/ready", Of::Nothing, OPEN),
    ("GET", "/metrics", Of::Nothing, OPEN),
    ("GET", "/me", Of::Nothing, USERS),
    ("GET", "/submissions", Of::Nothing, USERS),
    ("POST", "/submissions", Of::Nothing, [201, 201, 201, 401, 401]),
    ("GET", "/submissions/{id}", Of::Submission, OWNERS),
    ("GET", "/jobs", Of::Nothing, USERS),
    ("POST", "/jobs", Of::NamedSubmission, [202, 404, 202, 401, 401]),
    ("GET", "/jobs/{id}", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/status", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/status", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/events", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/events", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/logs", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/logs", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/logs/stream", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/logs/stream", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/stream", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/stream", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/curves", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/curves", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/results", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/results", Of::Running, [404, 404, 404, 401, 401]),
    ("GET", "/jobs/{id}/artifacts", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/artifacts", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/artifacts.tar.gz", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/artifacts/metrics.json", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/artifacts/metrics.json", Of::Running, [404, 404, 404, 401, 401]),
    ("GET", "/jobs/{id}/visualizations", Of::Finished, OWNERS),
    ("GET", "/jobs/{id}/visualizations", Of::Running, OWNERS),
    ("GET", "/jobs/{id}/visualizations/x_heatmap.png", Of::Finished, OWNERS),
    ("GET", "/leaderboard", Of::Nothing, USERS),
    ("GET", "/leaderboard.csv", Of::Nothing, USERS),
    ("GET", "/leaderboard/metrics", Of::Nothing, USERS),
    ("GET", "/leaderboard/history", Of::Nothing, USERS),
    // The last: it ends the job.
    ("POST", "/jobs/{id}/cancel", Of::Finished, [409, 404, 409, 401, 401]),
    ("POST", "/jobs/{id}/cancel", Of::Running, [202, 404, 202, 401, 401]),
];

/// Pages and their files, which hold nothing of anybody and need no token.
const PAGES: [&str; 4] = ["/openapi.json", "/docs", "/redoc", "/ui"];

/// What could be looked at before it is known whose object it is.
const GAMES: [(&str, Option<(&str, &str)>); 8] = [
    ("", None),
    ("?nonsense=1", None),
    ("?attempt=0&offset=-1&tail_lines=x&since=x", None),
    ("", Some(("range", "bytes=0-0"))),
    ("", Some(("if-none-match", "*"))),
    ("", Some(("last-event-id", "x"))),
    ("", Some(("accept", "text/html"))),
    ("", Some(("x-forwarded-user", "alice"))),
];

/// The objects that the table is about.
struct World {
    board: Board,
    submission: String,
    finished: String,
    running: String,
}

impl World {
    /// With a job that has completed and one that runs, both of Alice's.
    async fn new() -> Self {
        // Hundreds of wrong tokens are sent.
        let settings = [("WORKER_SLOTS", "4"), ("LEADERBOARD_METRICS", "auc:desc"), ("AUTH_FAILURE_DELAY", "0s")];
        let board = Board::start(&settings).await;
        let alice = Client::new(board.server(), ALICE);
        let picture = "open(output + '/x_heatmap.png', 'wb').write(b'heat')";
        let submission = alice.submit(&format!("{INSTANT}\n{picture}")).await;
        let finished = alice.enqueue(&submission, json!({})).await;
        alice.wait_for(&finished, "completed").await;
        let running = alice.run(&gated(&board.gate("gate"))).await;
        alice.wait_for(&running, "running").await;
        Self { board, submission, finished, running }
    }

    fn id(&self, of: Of) -> &str {
        match of {
            Of::Nothing => "",
            Of::Submission | Of::NamedSubmission => &self.submission,
            Of::Finished => &self.finished,
            Of::Running => &self.running,
        }
    }
}

/// An answer but for what differs from one request to the next. The body of a success is left out: it may have no end.
#[derive(Debug, PartialEq, Eq)]
struct Answered {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

async fn ask(request: RequestBuilder) -> Answered {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let mut headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    let body = if status < 400 { String::new() } else { answer.text().await.expect("a body") };
    Answered { status, headers, body }
}

/// A request of the table about the object of this id, with this token.
fn request(
    http: &reqwest::Client,
    server: &str,
    row: (&str, &str, Of),
    id: &str,
    token: Option<&str>,
) -> RequestBuilder {
    let (method, path, of) = row;
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let request = http.request(method.clone(), format!("{server}{}", path.replace("{id}", id)));
    // Bodies of errors have it.
    let request = request.header("x-request-id", "the-same");
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    match (method, of) {
        (Method::POST, Of::NamedSubmission) => request.json(&json!({ "submission_id": id })),
        (Method::POST, Of::Nothing) => request.multipart(files(&[("main.py", INSTANT), ("config.yaml", "")])),
        _ => request,
    }
}

#[tokio::test]
async fn every_route_answers_every_caller_as_the_table_says_and_tells_nobody_what_others_have() {
    let world = World::new().await;
    let (http, server) = (http_client(), world.board.server());
    let mut wrong = Vec::new();
    for &(method, path, of, statuses) in TABLE {
        let (row, id) = ((method, path, of), world.id(of));
        let tokens = [Some(ALICE), Some(BOB), Some(ROOT), None, Some("wrong-token-0123456789")];
        // The owner comes last: what is cancelled is another object.
        for (caller, expected) in tokens.into_iter().zip(statuses).rev() {
            let found = ask(request(&http, server, row, id, caller)).await;
            if found.status != expected {
                wrong.push(format!("{method} {path} ({of:?}) with {caller:?}: {found:?}, not {expected}"));
            }
            let is_stranger = [Some(ALICE), Some(ROOT)].iter().all(|known| *known != caller);
            if is_stranger && of != Of::Nothing {
                for (query, header) in GAMES {
                    let path = format!("{path}{query}");
                    let play = |id| {
                        let request = request(&http, server, (method, &path, of), id, caller);
                        ask(header.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
                    };
                    let (theirs, nobodys) = (play(id).await, play(UNKNOWN).await);
                    if theirs != nobodys || [id, "alice"].iter().any(|secret| theirs.body.contains(secret)) {
                        wrong.push(format!("{method} {path} {header:?} with {caller:?}: {theirs:?} / {nobodys:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let alice = Client::new(server, ALICE);
    alice.wait_for(&world.running, "cancelled").await;
    let root = Client::new(server, ROOT);
    for job in root.get("/jobs?limit=200").await.body["jobs"].as_array().expect("a list") {
        let (job, done) = (
            job["job_id"].as_str().expect("an id"),
            if job["job_id"] == world.running { "cancelled" } else { "completed" },
        );
        root.wait_for(job, done).await;
    }
    all_is_well(&world.board).await;
}

#[tokio::test]
async fn every_route_has_a_row() {
    let board = Board::start(&[]).await;
    let document = Client::new(board.server(), ALICE).get("/openapi.json").await;
    assert_eq!(document.status, 200, "{document:?}");
    let served = of_document(&document.body);
    let is_page = |path: &str| PAGES.iter().any(|page| path == *page || path.starts_with(&format!("{page}/")));
    let rows: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    let matches = |(method, template): &(String, String), (row_method, row): &(String, String)| {
        method == row_method && fits(template, row)
    };
    let without: Vec<_> =
        served.iter().filter(|route| !is_page(&route.1) && !rows.iter().any(|row| matches(route, row))).collect();
    assert!(without.is_empty(), "add rows to TABLE for {without:?}");
    let gone: Vec<_> = rows.iter().filter(|row| !served.iter().any(|route| matches(route, row))).collect();
    assert!(gone.is_empty(), "no route is served for the rows {gone:?}");
}

/// Whether a path of the table is one of this route.
fn fits(template: &str, row: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), row.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// The routes of the document that the server has of itself.
fn of_document(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let routes = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    routes.collect()
}

/// An answer without the id of its request.
fn but_for_its_id(mut answer: Answer) -> Answer {
    if let Some(body) = answer.body.as_object_mut() {
        body.remove("request_id");
    }
    answer
}

#[tokio::test]
async fn lists_cursors_keys_and_boards_show_nothing_that_is_others() {
    let world = World::new().await;
    let [alice, bob] = [ALICE, BOB].map(|token| Client::new(world.board.server(), token));
    let theirs = bob.run(INSTANT).await;
    bob.wait_for(&theirs, "completed").await;

    for list in ["jobs", "submissions"] {
        let refused = but_for_its_id(bob.get(&format!("/{list}?user=alice")).await);
        assert_eq!(refused.status, 403, "{refused:?}");
        for other in ["no-such-user", "ALICE", "a%2Aice"] {
            let found = but_for_its_id(bob.get(&format!("/{list}?user={other}")).await);
            assert_eq!(found, refused, "it is not told who exists");
        }
        // A place in Alice's list is a place in Bob's own.
        let page = alice.get(&format!("/{list}?limit=1")).await.body;
        let cursor = page["next_cursor"].as_str().expect("there is more");
        for id in [&world.submission, &world.finished, &world.running] {
            let found = bob.get(&format!("/{list}?limit=1&cursor={cursor}")).await;
            assert!(found.status == 200 && !found.body.to_string().contains(id.as_str()), "{found:?}");
            // A cursor that names an object of hers by its id.
            let forged = bob.get(&format!("/{list}?cursor=7fffffffffffff-{id}")).await;
            assert!(forged.status == 200 && !forged.body.to_string().contains(id.as_str()), "{forged:?}");
        }
    }

    // A key of Alice's is not known to Bob, and neither is what it made.
    let body = json!({ "submission_id": world.submission });
    let post = async |client: &Client| {
        client.send(client.request(Method::POST, "/jobs").header("Idempotency-Key", "k").json(&body)).await
    };
    let hers = post(&alice).await;
    assert_eq!(hers.status, 202, "{hers:?}");
    let his = but_for_its_id(post(&bob).await);
    let unknown = json!({ "submission_id": UNKNOWN });
    assert_eq!((his.status, his == but_for_its_id(bob.post("/jobs", &unknown).await)), (404, true), "{his:?}");
    alice.wait_for(hers.body["job_id"].as_str().expect("an id"), "completed").await;

    // The board is everybody's. What it names is not.
    for board in ["/leaderboard?metric=auc", "/leaderboard/history?metric=auc", "/leaderboard?metric=auc&user=alice"] {
        let board = bob.get(board).await;
        assert!(board.status == 200 && board.body.to_string().contains(&world.finished), "{board:?}");
        for secret in ["main.py", "metrics.json", "hello from the job"] {
            assert!(!board.body.to_string().contains(secret), "{secret}: {board:?}");
        }
    }
    let hers = but_for_its_id(bob.get(&format!("/submissions/{}", world.submission)).await);
    let nobodys = but_for_its_id(bob.get(&format!("/submissions/{UNKNOWN}")).await);
    assert_eq!((hers.status, hers == nobodys), (404, true), "{hers:?}");
    for path in ["", "/status", "/results", "/logs", "/artifacts/metrics.json", "/events"] {
        let of = async |id: &str| but_for_its_id(bob.get(&format!("/jobs/{id}{path}")).await);
        let named =
            tokio::time::timeout(scaled(Duration::from_secs(10)), of(&world.finished)).await.expect("an answer");
        assert_eq!((named.status, named == of(UNKNOWN).await), (404, true), "{path}: {named:?}");
    }
    std::fs::write(world.board.gate("gate"), "").expect("the gate");
    alice.wait_for(&world.running, "completed").await;
    all_is_well(&world.board).await;
}
