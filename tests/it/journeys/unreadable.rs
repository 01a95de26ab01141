//! Records that can't be read: each is shown as such, and takes nothing else with it.

use leadersboard_tests::board::{ALICE, BOB, Board, ROOT};
use leadersboard_tests::client::Client;
use leadersboard_tests::programs::INSTANT;
use projections::Keyspace;
use reqwest::Method;
use serde_json::{Value, json};

/// A program that leaves this as its `metrics.json`.
fn leaving(metrics: &str) -> String {
    format!("import sys\nopen(sys.argv[sys.argv.index('--output') + 1] + '/metrics.json', 'w').write({metrics:?})\n")
}

#[tokio::test]
async fn what_could_not_be_read_again_is_refused_by_name_and_what_python_writes_is_kept() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let smuggled = json!({ "$serde_json::private::RawValue": nested }).to_string();
    let refused = [
        (format!(r#"{{"params": {{"x": {smuggled}}}, "metrics": {{"acc": 5}}}}"#), "reserved name"),
        (r#"{"params": {}, "metrics": {"acc": NaN}}"#.to_owned(), "metrics.acc is NaN"),
    ];
    for (metrics, wanted) in refused {
        let job = alice.run(&leaving(&metrics)).await;
        let failed = alice.wait_for(&job, "failed").await;
        assert_eq!(failed["failure"]["kind"], "invalid_metrics", "{failed:#}");
        assert!(failed["error"].as_str().expect("a sentence").contains(wanted), "{failed:#}");
    }
    let big = "123456789012345678901234567890";
    let kept = format!(
        r#"{{"params": {{"missing": NaN, "seed": {big}, "deep": {nested}}}, "metrics": {{"acc": 5}}, "performance": {{"speed": -Infinity}}}}"#
    );
    let job = alice.run(&leaving(&kept)).await;
    alice.wait_for(&job, "completed").await;
    let results = alice.get(&format!("/jobs/{job}/results")).await.body;
    let deep = results["params"]["deep"].to_string();
    assert!(deep.contains("[\"[") && deep.matches('[').count() == 100, "{deep}");
    assert_eq!((&results["params"]["missing"], &results["params"]["seed"]), (&json!("NaN"), &json!(big)));
    assert_eq!(results["performance"], json!({ "speed": "-Infinity" }));

    // What a client says of a submission and of a job is shown digit by digit.
    let metadata = format!(r#"{{"seed": {big}, "rate": 1.10, "user_id": "mallory"}}"#);
    let form = leadersboard_tests::client::files(&[("main.py", INSTANT), ("config.yaml", "")]);
    let submission = alice.upload(form.text("metadata", metadata)).await.body;
    let submission = submission["submission_id"].as_str().expect("an id");
    let text = async |path: String| {
        let answer = alice.request(Method::GET, &path).send().await.expect("an answer");
        answer.text().await.expect("a body")
    };
    let shown = text(format!("/submissions/{submission}")).await;
    assert!(shown.contains(&format!("\"seed\": {big}")) && shown.contains("\"rate\": 1.10"), "{shown}");
    let read: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&read["metadata"]["user_id"], read["metadata"]["files"].is_array()), (&json!("alice"), true));
    let body =
        format!(r#"{{"submission_id": "{submission}", "config": {{"seed": {big}, "resourc_class": "medium"}}}}"#);
    let request = alice.request(Method::POST, "/jobs").header("content-type", "application/json").body(body);
    let accepted = alice.send(request).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let warning = "config.resourc_class is unknown to the platform: did you mean resource_class?";
    assert_eq!(accepted.body["warnings"], json!([warning]));
    let id = accepted.body["job_id"].as_str().expect("an id");
    let shown = text(format!("/jobs/{id}")).await;
    assert!(shown.contains(&format!("\"config\":{{\"seed\": {big}, ")), "{shown}");
    alice.wait_for(id, "completed").await;
    let at_zero = alice.get(&format!("/jobs/{id}/logs?attempt=0")).await;
    assert!(at_zero.status == 400 && at_zero.detail().starts_with("attempt must be"), "{at_zero:?}");
    assert_eq!(alice.get(&format!("/jobs/{id}/logs?tail_lines=1&verbose=1")).await.status, 200);
    super::all_is_well(&board).await;
}

type Damage = (&'static str, Vec<Vec<u8>>);

fn command(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

#[tokio::test]
async fn one_record_that_is_garbage_takes_no_list_board_or_stream_with_it() {
    let board = Board::start(&[]).await;
    let [alice, bob, root] = [ALICE, BOB, ROOT].map(|token| Client::new(board.server(), token));
    let run = async |client: &Client| {
        let job = client.run(INSTANT).await;
        client.wait_for(&job, "completed").await;
        job
    };
    let (hurt, well, theirs) = (run(&alice).await, run(&alice).await, run(&bob).await);
    let keys = Keyspace::default();
    let id = hurt.parse().expect("an id");
    let (record, results) = (keys.job(id), keys.result(id));
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    let mut redis = board.redis().await;
    let damages: [Damage; 8] = [
        ("state", command(&[b"HSET", record.as_bytes(), b"state", b"\xff\xfe"])),
        ("no state", command(&[b"HSET", record.as_bytes(), b"state", b"lost"])),
        ("a name that is no text", command(&[b"HSET", record.as_bytes(), b"\xff", b"1"])),
        ("no hash", command(&[b"SET", record.as_bytes(), b"x"])),
        ("deep params", command(&[b"HSET", results.as_bytes(), b"params", deep.as_bytes()])),
        ("params that are no text", command(&[b"HSET", results.as_bytes(), b"params", b"{\"a\":\"\xff\"}"])),
        ("params that are no object", command(&[b"HSET", results.as_bytes(), b"params", b"[1]"])),
        ("no results", command(&[b"SET", results.as_bytes(), b"x"])),
    ];
    for (what, damage) in damages {
        let of_job = damage[1] == record.as_bytes();
        if damage[0] == b"SET" {
            let _: i64 = redis::cmd("DEL").arg(&damage[1]).query_async(&mut redis).await.expect("it runs");
        }
        let mut write = redis::cmd(std::str::from_utf8(&damage[0]).expect("a command"));
        for part in &damage[1..] {
            write.arg(part);
        }
        let _: redis::Value = write.query_async(&mut redis).await.expect("it runs");

        for path in [
            "/leaderboard?metric=auc",
            "/leaderboard?metric=auc&param.lr=0.1",
            "/leaderboard.csv?metric=auc",
            "/leaderboard/history?metric=auc",
            "/leaderboard/history?metric=auc&param.lr=0.1",
            "/leaderboard/metrics",
        ] {
            let answer = bob.get(path).await;
            assert_eq!(answer.status, 200, "{what}: {path}: {answer:?}");
        }
        let shown = bob.get("/leaderboard?metric=auc").await.body;
        let ranked = |rows: &Value| -> Vec<String> {
            let rows = rows.as_array().cloned().unwrap_or_default();
            rows.iter().map(|row| row["job_id"].as_str().expect("an id").to_owned()).collect()
        };
        let (rows, lost) = (ranked(&shown["rows"]), ranked(&shown["unreadable"]));
        assert!(rows.contains(&theirs) && (rows.contains(&hurt) != lost.contains(&hurt)), "{what}: {shown:#}");
        for client in [&alice, &root] {
            let listed = client.get("/jobs").await;
            let (jobs, unreadable) = (ranked(&listed.body["jobs"]), ranked(&listed.body["unreadable"]));
            assert!(jobs.contains(&well) && (unreadable == [hurt.clone()]) == of_job, "{what}: {listed:?}");
        }
        let path = format!("/jobs/{hurt}");
        let (mine, all) = (alice.get(&path).await, root.get(&path).await);
        if of_job {
            assert_eq!((all.status, &all.body["code"]), (503, &json!("unreadable")), "{what}: {all:?}");
            // Where it is not known whose it is, it may be somebody else's.
            let status = if what == "no hash" { 404 } else { 503 };
            assert_eq!((mine.status, bob.get(&path).await.status), (status, 404), "{what}: {mine:?}");
        } else {
            assert_eq!((mine.status, &mine.body["status"]), (200, &json!("completed")), "{what}");
            let told = alice.get(&format!("{path}/results")).await;
            let broken = &told.body["unreadable"]["params"];
            assert!(told.status == 200 && broken.is_string() && told.body["params"].is_null(), "{what}: {told:?}");
            let events = alice.get(&format!("{path}/events")).await;
            assert_eq!(events.status, 200, "{what}: {events:?}");
        }
        let verified = board.run(["projections", "verify"]);
        assert_eq!(verified.code, Some(1), "{what}: {verified:?}");
        let rebuilt = board.run(["projections", "rebuild"]);
        assert_eq!(rebuilt.code, Some(0), "{what}: {rebuilt:?}");
        assert_eq!(board.run(["projections", "verify"]).code, Some(0), "{what}");
        let read = alice.get(&format!("/jobs/{hurt}/results")).await;
        assert_eq!((read.status, &read.body["params"]), (200, &json!({ "lr": 0.1 })), "{what}: {read:?}");
    }
    super::all_is_well(&board).await;
}

#[tokio::test]
async fn an_event_that_is_garbage_is_told_of_and_leaves_all_others_to_be_restored() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let (hurt, well) = (alice.run(INSTANT).await, alice.run(INSTANT).await);
    let before = alice.wait_for(&hurt, "completed").await;
    alice.wait_for(&well, "completed").await;
    let keys = Keyspace::default();
    let record = keys.job(hurt.parse().expect("an id"));
    let mut redis = board.redis().await;
    let ids: String =
        redis::cmd("HGET").arg(&record).arg("events").query_async(&mut redis).await.expect("the places of its events");
    let seq = ids.split(' ').count() + 1;
    let garbage = redis::cmd("XADD")
        .arg(keys.events())
        .arg(&["*", "type", "job.tracked", "v", "1", "agg", &format!("job:{hurt}"), "seq", &seq.to_string()])
        .arg("\u{e9}".as_bytes())
        .arg(b"\xff")
        .arg("data")
        .arg(b"{\"a\":\"\xff\"}")
        .query_async::<String>(&mut redis)
        .await
        .expect("an entry");
    let stray: String = redis::cmd("XADD")
        .arg(keys.events())
        .arg(&["*", "nothing", "known"])
        .query_async(&mut redis)
        .await
        .expect("an entry");
    let _: i64 = redis::cmd("HSET")
        .arg(&record)
        .arg("events")
        .arg(format!("{ids} {garbage} nowhere"))
        .query_async(&mut redis)
        .await
        .expect("it runs");

    let events = alice.get(&format!("/jobs/{hurt}/events")).await;
    let told = events.body["events"].as_array().expect("events");
    assert_eq!((events.status, told.len()), (200, seq + 1), "{events:?}");
    assert!(told[..seq - 1].iter().all(|event| event.get("unreadable").is_none()), "{told:#?}");
    assert!(told[seq - 1..].iter().all(|event| event["unreadable"].is_string()), "{told:#?}");
    let stream = alice.request(Method::GET, &format!("/jobs/{hurt}/stream")).header("last-event-id", "1");
    let stream = stream.send().await.expect("an answer").text().await.expect("a stream that ends");
    assert!(stream.contains("event: end") || stream.contains("event:end"), "{stream}");

    // The log tells nothing of what became of this job, so its records stay; all others are compared.
    let verified = board.run(["projections", "verify", "--json"]);
    assert_eq!((verified.code, verified.json()["unreadable"].clone()), (Some(1), json!(2)), "{verified:?}");
    let lost: i64 = redis::cmd("DEL")
        .arg(keys.result(well.parse().expect("an id")))
        .query_async(&mut redis)
        .await
        .expect("it runs");
    let rebuilt = board.run(["projections", "rebuild"]);
    assert_eq!((lost, rebuilt.code), (1, Some(0)), "{rebuilt:?}");
    assert!(rebuilt.stdout.contains(&hurt) && rebuilt.stdout.contains(&stray), "{rebuilt:?}");
    assert_eq!(alice.get(&format!("/jobs/{well}/results")).await.status, 200);
    let after = alice.get(&format!("/jobs/{hurt}")).await.body;
    assert_eq!((&after["status"], &after["metrics"]), (&before["status"], &before["metrics"]));
}
