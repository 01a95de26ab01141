//! Damage done by hand to what Redis holds beside the log.

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoConsumersReply, StreamRangeReply};
use redis::{Cmd, RedisResult};

use crate::schedule::Fault;

/// The work stream that all jobs of a campaign wait in.
pub(crate) const QUEUE: &str = "{leaderboard:main}:queue:small";
const LEASES: &str = "{leaderboard:main}:leases";
const GROUP: &str = "workers";
/// What may hold something that can't be read.
const OPEN: &str = "{leaderboard:main}:open";
const DELAYED: &str = "{leaderboard:main}:delayed";
/// What Redis asks for when logins are refused.
const PASSWORD: &str = "a-password-that-no-role-has";
const NO_JOB: &str = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";

/// Does the damage of a fault. What is not there can't be damaged, and counts all the same.
///
/// # Errors
/// If Redis does not do it.
pub(crate) async fn damage(redis: &mut MultiplexedConnection, fault: Fault, open_jobs: &[String]) -> RedisResult<()> {
    match fault {
        Fault::GroupDestroyed => done(redis, &["XGROUP", "DESTROY", QUEUE, GROUP]).await,
        Fault::ScriptsFlushed => done(redis, &["SCRIPT", "FLUSH"]).await,
        Fault::LeasesDeleted => done(redis, &["DEL", LEASES]).await,
        Fault::ConsumerDeleted { pick: number } => delete_consumer(redis, number).await,
        Fault::TicketDeleted { pick: number } => delete_ticket(redis, number).await,
        Fault::TicketForNoJob => add_ticket(redis, "job", NO_JOB.as_bytes()).await,
        Fault::TicketDoubled { pick: number } => match pick(open_jobs, number) {
            Some(job) => add_ticket(redis, "job", job.as_bytes()).await,
            None => Ok(()),
        },
        Fault::TicketOfGarbage { pick: number } => {
            let garbage: [(&str, &[u8]); 4] =
                [("job", b"\xff\xfe\x00\r\n"), ("job", b"not an id"), ("sub", NO_JOB.as_bytes()), ("\u{0}", b"")];
            let (field, value) = garbage[usize::try_from(number % 4).expect("small")];
            add_ticket(redis, field, value).await
        }
        Fault::EntryUnreadable { pick: number } => add_unreadable(redis, number, open_jobs).await,
        Fault::WorkerKilled { .. }
        | Fault::WorkerAsleep { .. }
        | Fault::WorkerDrained { .. }
        | Fault::ApiKilled { .. }
        | Fault::RedisKilled { .. }
        | Fault::ConnectionsCut
        | Fault::ConnectionsSilenced
        | Fault::ClockAhead { .. }
        | Fault::ClockBehind { .. }
        | Fault::MemoryFull { .. }
        | Fault::LoginsRefused { .. }
        | Fault::DescriptorsTaken { .. }
        | Fault::DiskFull { .. }
        | Fault::WorkRootGone { .. } => Ok(()),
    }
}

/// Sets the memory limit, in bytes; 0 is none.
///
/// # Errors
/// If Redis does not do it.
pub(crate) async fn limit_memory(redis: &mut MultiplexedConnection, bytes: u64) -> RedisResult<()> {
    done(redis, &["CONFIG", "SET", "maxmemory", &bytes.to_string()]).await
}

/// Has Redis want a password from now on, and cuts every connection but this one.
///
/// # Errors
/// If Redis does not do it.
pub(crate) async fn refuse_logins(redis: &mut MultiplexedConnection) -> RedisResult<()> {
    done(redis, &["CONFIG", "SET", "requirepass", PASSWORD]).await?;
    for kind in ["normal", "pubsub"] {
        done(redis, &["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await?;
    }
    Ok(())
}

/// Has Redis take everybody again. The connection may be one that is refused.
///
/// # Errors
/// If Redis does not do it.
pub(crate) async fn take_logins(redis: &mut MultiplexedConnection) -> RedisResult<()> {
    if done(redis, &["PING"]).await.is_err() {
        done(redis, &["AUTH", PASSWORD]).await?;
    }
    done(redis, &["CONFIG", "SET", "requirepass", ""]).await
}

/// One of these.
pub(crate) fn pick<T>(things: &[T], number: u64) -> Option<&T> {
    let at = number.checked_rem(things.len() as u64)?;
    things.get(usize::try_from(at).ok()?)
}

async fn delete_consumer(redis: &mut MultiplexedConnection, number: u64) -> RedisResult<()> {
    let info: StreamInfoConsumersReply = words(&["XINFO", "CONSUMERS", QUEUE, GROUP]).query_async(redis).await?;
    match pick(&info.consumers, number) {
        Some(consumer) => done(redis, &["XGROUP", "DELCONSUMER", QUEUE, GROUP, &consumer.name]).await,
        None => Ok(()),
    }
}

async fn delete_ticket(redis: &mut MultiplexedConnection, number: u64) -> RedisResult<()> {
    let tickets: StreamRangeReply = words(&["XRANGE", QUEUE, "-", "+"]).query_async(redis).await?;
    match pick(&tickets.ids, number) {
        Some(ticket) => done(redis, &["XDEL", QUEUE, &ticket.id]).await,
        None => Ok(()),
    }
}

async fn add_ticket(redis: &mut MultiplexedConnection, field: &str, value: &[u8]) -> RedisResult<()> {
    let mut add = words(&["XADD", QUEUE, "*", field]);
    add.arg(value).query_async::<String>(redis).await.map(drop)
}

/// Writes what can't be read into one of the keys that workers sweep.
async fn add_unreadable(redis: &mut MultiplexedConnection, number: u64, open_jobs: &[String]) -> RedisResult<()> {
    let garbage: &[u8] = b"\xff\xfe\x00 not what it should be";
    let mut add = Cmd::new();
    match number % 5 {
        0 => add.arg("HSET").arg(LEASES).arg(NO_JOB).arg(garbage),
        1 => add.arg("HSET").arg(LEASES).arg(garbage).arg("{}"),
        // In the place of a lease, if its job has one.
        2 => add.arg("HSET").arg(LEASES).arg(pick(open_jobs, number).map_or(NO_JOB, String::as_str)).arg(garbage),
        3 => add.arg("SADD").arg(OPEN).arg(garbage),
        _ => add.arg("ZADD").arg(DELAYED).arg(0).arg(garbage),
    };
    add.query_async::<redis::Value>(redis).await.map(drop)
}

async fn done(redis: &mut MultiplexedConnection, command: &[&str]) -> RedisResult<()> {
    words(command).query_async::<redis::Value>(redis).await.map(drop)
}

fn words(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}
