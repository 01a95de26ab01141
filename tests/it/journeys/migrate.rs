//! A Redis of an earlier version is brought to this one: what it knew is there, and what it could not know yet.

use leadersboard_tests::invariants::{Expect, check};
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use projections::Keyspace;
use serde_json::{Value, json};

/// The version before slots, hours and sizes had read models, and when a job's records vanished by themselves.
const BEFORE: &str = "1";

#[tokio::test]
async fn the_read_models_of_an_earlier_version_are_made_anew() {
    let roles = Roles::new().await;
    let (api, alice) = roles.api();
    let worker = roles.worker("one", "1s");
    let job = alice.run(INSTANT).await;
    alice.wait_for(&job, "completed").await;
    drop(worker);
    let waiting = alice.run(INSTANT).await;
    drop(api);

    let (keys, mut raw) = (Keyspace::default(), roles.redis.connection().await);
    let user = "alice".parse().expect("a name");
    let mut age = redis::pipe();
    age.cmd("HSET").arg(keys.schema()).arg("version").arg(BEFORE);
    age.cmd("EXPIRE").arg(keys.job(job.parse().expect("an id"))).arg(1_000);
    for key in [keys.user_active(&user), keys.user_stored(&user), keys.uploads(&user), keys.rate(&user)] {
        age.cmd("DEL").arg(key);
    }
    age.cmd("DEL").arg(keys.submissions()).arg(keys.user_submissions(&user));
    let _: redis::Value = age.query_async(&mut raw).await.expect("aged");

    let refused = roles.command(&["api", "--listen", "127.0.0.1:0"]).output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("run `leadersboard migrate`"), "{refused:?}");
    let migrated = roles.command(&["migrate", "--json"]).output().expect("the binary runs");
    let report: Value = serde_json::from_slice(&migrated.stdout).unwrap_or_else(|_| panic!("{migrated:?}"));
    assert_eq!((&report["from"], &report["to"]), (&json!(1), &json!(migrations::CURRENT)));
    check(&roles.redis.url(), &keys, Expect::SomeOpen).await;

    let (_api, alice) = roles.api();
    let me = alice.get("/me").await.body;
    assert_eq!((&me["queued"]["used"], &me["jobs_per_hour"]["used"]), (&json!(1), &json!(2)), "{me}");
    let _worker = roles.worker("two", "1s");
    alice.wait_for(&waiting, "completed").await;
    check(&roles.redis.url(), &keys, Expect::AllEnded).await;
}

#[tokio::test]
async fn a_redis_that_refuses_the_login_is_named_with_its_address_and_not_called_away() {
    let roles = Roles::new().await;
    let mut raw = roles.redis.connection().await;
    let mut set = redis::cmd("CONFIG");
    let _: () = set.arg(&["SET", "requirepass", "hunter2"]).query_async(&mut raw).await.expect("it is set");
    let wrong = format!("{}?pass=hunter1", roles.redis.url());
    for (url, answer) in [(roles.redis.url(), "NOAUTH"), (wrong, "")] {
        for role in ["migrate", "doctor", "worker", "workers"] {
            let told = roles.command(&[role]).env("REDIS_URL", &url).output().expect("the binary runs");
            let words = [told.stdout, told.stderr].concat();
            let words = String::from_utf8_lossy(&words);
            let socket = roles.redis.socket().display().to_string();
            assert_eq!(told.status.code(), Some(1), "{role}: {words}");
            assert!(
                words.contains(&socket) && words.contains("refuses the login") && words.contains(answer),
                "{words}"
            );
            assert!(!words.contains("away") && !words.contains("hunter"), "{role}: {words}");
        }
    }
}
