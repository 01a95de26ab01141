//! Uploads in flight: counted over all hosts, their bytes reserved, and gone when their host is.

use std::time::Duration;

use adapters::ids::SystemIds;
use events::UserId;
use events::ports::{Ids, PortError, ReserveAsk, Reserved, UploadInFlight, UploadsPort};
use leadersboard_tests::invariants::Expect;
use leadersboard_tests::preload::Clock;
use leadersboard_tests::redis_server::{Persistence, RedisServer, migrate};
use projections::Keyspace;

use super::{Bench, MemoryLimit, upload};

fn of(user: &str, key: Option<&str>) -> UploadInFlight {
    let key_sha256 = key.map(str::to_owned);
    UploadInFlight { user: user.parse().expect("a name"), submission: SystemIds.submission(), key_sha256 }
}

/// Asks for exactly so many bytes, of at most 1,000, in at most two uploads.
fn exactly(bytes: u64) -> ReserveAsk {
    ReserveAsk { needed_bytes: bytes, wanted_bytes: bytes, at_once: Some(2), stored_bytes: Some(1_000) }
}

/// What an upload asks for that has its place.
fn more(bytes: u64) -> ReserveAsk {
    ReserveAsk { at_once: None, ..exactly(bytes) }
}

impl Bench {
    async fn reserve(&self, upload: &UploadInFlight, ask: ReserveAsk) -> Result<Reserved, PortError> {
        let port: &dyn UploadsPort = &self.redis;
        port.reserve(upload, &ask).await
    }

    async fn uploading(&self, user: &str) -> u64 {
        let user: UserId = user.parse().expect("a name");
        self.redis.in_flight(&user).await.expect("an answer")
    }
}

#[tokio::test]
async fn a_user_has_no_more_uploads_in_flight_than_the_limit_and_others_have_theirs() {
    let bench = Bench::new().await;
    let [first, second, third] = ["bob"; 3].map(|user| of(user, None));
    assert_eq!(bench.uploading("bob").await, 0);
    assert_eq!(bench.reserve(&first, exactly(0)).await, Ok(Reserved::Bytes(0)));
    assert_eq!(bench.reserve(&first, exactly(5)).await, Ok(Reserved::Bytes(5)), "its own place is no other");
    assert_eq!(bench.reserve(&second, exactly(0)).await, Ok(Reserved::Bytes(0)));
    assert_eq!(bench.reserve(&third, exactly(0)).await, Ok(Reserved::TooMany));
    assert_eq!(bench.uploading("bob").await, 2, "a refused upload has no place");
    // A glob, and what ends a hash tag: names are no patterns.
    for name in ["b*b", "bob}"] {
        assert_eq!(bench.reserve(&of(name, None), exactly(0)).await, Ok(Reserved::Bytes(0)), "{name}");
    }
    bench.redis.release(&first).await.expect("released");
    bench.redis.release(&first).await.expect("it may be gone");
    assert_eq!(bench.reserve(&third, exactly(0)).await, Ok(Reserved::Bytes(0)));
    // An upload that was admitted goes on, also under a limit that was lowered meanwhile or after its entry was lost.
    bench.redis.release(&second).await.expect("released");
    let lowered = ReserveAsk { at_once: None, ..exactly(7) };
    assert_eq!(bench.reserve(&second, lowered).await, Ok(Reserved::Bytes(7)));
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn bytes_in_flight_and_bytes_stored_never_exceed_the_quota_together() {
    let bench = Bench::new().await;
    // Ten bytes are stored.
    upload(&bench.redis, "bob").await;
    let [first, second] = ["bob"; 2].map(|user| of(user, None));
    assert_eq!(bench.reserve(&first, exactly(991)).await, Ok(Reserved::TooLarge { stored: 10, in_flight: 0 }));
    assert_eq!(bench.uploading("bob").await, 0);
    assert_eq!(bench.reserve(&first, exactly(600)).await, Ok(Reserved::Bytes(600)));
    let refused = Ok(Reserved::TooLarge { stored: 10, in_flight: 600 });
    assert_eq!(bench.reserve(&second, exactly(391)).await, refused);
    assert_eq!(bench.reserve(&second, exactly(390)).await, Ok(Reserved::Bytes(390)));
    assert_eq!(bench.reserve(&second, more(391)).await, refused);
    assert_eq!(bench.reserve(&second, more(380)).await, Ok(Reserved::Bytes(380)), "what was reserved is still there");
    // A wish gets half of what is left.
    let wish = ReserveAsk { wanted_bytes: 900, ..more(382) };
    assert_eq!(bench.reserve(&second, wish).await, Ok(Reserved::Bytes(386)));
    // What is stored already needs no room.
    let repeated = ReserveAsk { stored_bytes: None, ..more(5_000) };
    assert_eq!(bench.reserve(&second, repeated).await, Ok(Reserved::Bytes(5_000)));
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn an_upload_that_became_a_submission_is_counted_once() {
    let bench = Bench::new().await;
    let done = UploadInFlight { submission: upload(&bench.redis, "bob").await, ..of("bob", None) };
    assert_eq!(bench.reserve(&done, exactly(10)).await, Ok(Reserved::Bytes(10)));
    let [next, after] = ["bob"; 2].map(|user| of(user, None));
    assert_eq!(bench.reserve(&next, exactly(990)).await, Ok(Reserved::Bytes(990)));
    assert_eq!(bench.reserve(&after, exactly(0)).await, Ok(Reserved::Bytes(0)), "it has no place any more either");
    assert_eq!(bench.uploading("bob").await, 2);
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn uploads_under_one_key_are_one_upload() {
    let bench = Bench::new().await;
    let [broken, again, third, fourth] = [Some("aa"), Some("aa"), None, None].map(|key| of("bob", key));
    assert_eq!(bench.reserve(&broken, exactly(600)).await, Ok(Reserved::Bytes(600)));
    assert_eq!(bench.reserve(&third, exactly(0)).await, Ok(Reserved::Bytes(0)));
    assert_eq!(bench.reserve(&again, exactly(700)).await, Ok(Reserved::Bytes(700)), "its first try is no other");
    assert_eq!(bench.uploading("bob").await, 2);
    assert_eq!(bench.reserve(&third, more(301)).await, Ok(Reserved::TooLarge { stored: 0, in_flight: 700 }));
    bench.redis.release(&again).await.expect("released");
    assert_eq!(bench.reserve(&third, more(301)).await, Ok(Reserved::Bytes(301)), "the larger of the two counted");
    assert_eq!(bench.reserve(&fourth, exactly(0)).await, Ok(Reserved::TooMany), "the first try has the place");
    bench.check(Expect::SomeOpen).await;
}

#[tokio::test]
async fn an_upload_whose_host_is_gone_frees_its_place_whichever_way_the_clock_goes() {
    let clock = Clock::new();
    let server = RedisServer::start_with(Persistence::Off, clock.environment()).await;
    let keys = Keyspace::default();
    migrate(&server.url(), &keys).await;
    let redis = adapters::redis::Redis::connect(&server.url(), keys.clone()).await.expect("Redis");
    let reserve = async |upload: &UploadInFlight| redis.reserve(upload, &exactly(1)).await.expect("an answer");
    let [first, second, third] = ["bob"; 3].map(|user| of(user, None));
    assert_eq!((reserve(&first).await, reserve(&second).await), (Reserved::Bytes(1), Reserved::Bytes(1)));
    clock.set_ahead(Duration::from_secs(50));
    assert_eq!(reserve(&third).await, Reserved::TooMany);
    assert_eq!(reserve(&first).await, Reserved::Bytes(1), "it is renewed");
    clock.set_ahead(Duration::from_secs(70));
    assert_eq!(reserve(&third).await, Reserved::Bytes(1), "the second was not");
    clock.set_ahead(Duration::ZERO);
    assert_eq!(redis.in_flight(&first.user).await, Ok(0), "these end later than an upload lives");
    assert_eq!(reserve(&second).await, Reserved::Bytes(1));
    let key = keys.uploads_in_flight(&first.user);
    let mut raw = server.connection().await;
    let entries: u64 = redis::cmd("HLEN").arg(&key).query_async(&mut raw).await.expect("a length");
    let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut raw).await.expect("a time");
    assert!(entries == 1 && (1..=60_000).contains(&left), "{entries} entries, {left} ms");
}

#[tokio::test]
async fn entries_that_can_not_be_read_and_a_full_redis_break_nothing() {
    let bench = Bench::new().await;
    let upload = of("bob", None);
    let key = bench.keys.uploads_in_flight(&upload.user);
    let mut raw = bench.raw().await;
    for (field, value) in [("x", "y"), ("{}*\n", "-1:2:"), ("a", "99999999999999999999999:1:"), ("b", "\u{0}")] {
        let mut set = redis::cmd("HSET");
        set.arg(&key).arg(field).arg(value).query_async::<()>(&mut raw).await.expect("set");
    }
    assert_eq!(bench.reserve(&upload, exactly(1)).await, Ok(Reserved::Bytes(1)));
    let entries: u64 = redis::cmd("HLEN").arg(&key).query_async(&mut raw).await.expect("a length");
    assert_eq!(entries, 1, "they are gone");
    bench.limit_memory(MemoryLimit::Exceeded).await;
    let full = bench.reserve(&of("bob", None), exactly(1)).await;
    bench.limit_memory(MemoryLimit::None).await;
    assert_eq!(full, Ok(Reserved::Full));
    redis::cmd("SET").arg(&key).arg("a text").query_async::<()>(&mut raw).await.expect("set");
    let wrong = bench.reserve(&upload, exactly(1)).await;
    assert!(matches!(wrong, Err(PortError::Corrupt(_))), "{wrong:?}");
    redis::cmd("DEL").arg(&key).query_async::<()>(&mut raw).await.expect("deleted");
    bench.check(Expect::SomeOpen).await;
}
