//! The connection that many callers share, opened again for as long as that takes.
//!
//! One task keeps the connection. It opens another when the present one breaks, falls silent, or leads to a server that
//! can't serve: one that refuses the login, is not a Redis, or has become a replica. Whatever the failure was, the task
//! tries again after a pause, and never gives up.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::login::{ask, is_lost, is_of_wrong_server, of_connection, open};
use super::trouble::describe;
use crate::redis::keys_of::with_key_named;

/// How often the connection is asked whether it still carries anything.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long a call waits for a connection while none can be opened.
const PATIENCE: Duration = Duration::from_millis(300);
/// The least time between two connections, so that a server which drops each at once is not flooded.
const LEAST_BETWEEN: Duration = Duration::from_millis(20);

/// A connection for calls that must never block. Clones share it.
#[derive(Clone)]
pub(crate) struct Shared {
    link: watch::Receiver<Link>,
    /// The number of the newest connection that a caller found to be of no use.
    useless: Arc<watch::Sender<u64>>,
    database: i64,
}

/// The connection as its keeper knows it.
#[derive(Clone)]
enum Link {
    /// The first attempt to open one is under way.
    Opening,
    /// It is open. Connections are numbered in their order.
    Open(u64, MultiplexedConnection),
    /// The last attempt failed, and the next will come.
    Refused(RedisError),
}

impl Shared {
    /// Opens the first connection; from then on it is kept until the last clone is gone.
    pub(crate) async fn open(client: Client) -> RedisResult<Self> {
        let database = client.get_connection_info().redis_settings().db();
        let (keeper, link) = watch::channel(Link::Opening);
        let (useless, found) = watch::channel(0);
        let shared = Self { link, useless: Arc::new(useless), database };
        tokio::spawn(Keeper { client, link: keeper, useless: found }.keep());
        shared.connection().await?;
        Ok(shared)
    }

    /// The connection as it is now. While none can be opened, the reason comes soon.
    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut link = self.link.clone();
        let is_useful = |link: &Link| matches!(link, Link::Open(number, _) if *number > *self.useless.borrow());
        let settled = link.wait_for(|link| is_useful(link) || matches!(link, Link::Refused(_))).await;
        let refused = match settled.map(|link| link.clone()) {
            Ok(Link::Open(number, connection)) => return Ok((number, connection)),
            Ok(Link::Refused(error)) => error,
            Ok(Link::Opening) | Err(_) => return Err(stopping()),
        };
        match timeout(PATIENCE, link.wait_for(is_useful)).await.map(|link| link.map(|link| link.clone())) {
            Ok(Ok(Link::Open(number, connection))) => Ok((number, connection)),
            Ok(Ok(_) | Err(_)) => Err(stopping()),
            Err(_) => Err(match &*self.link.borrow() {
                Link::Refused(newer) => newer.clone(),
                Link::Opening | Link::Open(..) => refused,
            }),
        }
    }

    /// Has the connection of this number replaced.
    fn give_up(&self, number: u64) {
        self.useless.send_if_modified(|newest| {
            let is_news = number > *newest;
            *newest = number.max(*newest);
            is_news
        });
    }

    async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
        answers: impl Fn(&T) -> &[Value],
    ) -> RedisResult<T> {
        let (number, mut connection) = self.connection().await?;
        let answer = work(&mut connection).await.map_err(of_connection);
        let is_useless = match &answer {
            Ok(answer) => answers(answer).iter().any(is_of_wrong_server),
            Err(error) => is_lost(error),
        };
        if is_useless {
            self.give_up(number);
        }
        answer
    }
}

impl ConnectionLike for Shared {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let work = async |connection: &mut MultiplexedConnection| {
            let answer = connection.req_packed_command(command).await?;
            Ok(with_key_named(command, answer))
        };
        self.call(work, std::slice::from_ref).boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let work = async move |connection: &mut MultiplexedConnection| {
            let answers = connection.req_packed_commands(pipeline, offset, count).await?;
            if offset > 0 {
                return Ok(answers);
            }
            let commands = pipeline.cmd_iter();
            Ok(commands.zip(answers).map(|(command, answer)| with_key_named(command, answer)).collect())
        };
        self.call(work, |answers: &Vec<Value>| answers).boxed()
    }

    fn get_db(&self) -> i64 {
        self.database
    }
}

fn stopping() -> RedisError {
    RedisError::from((ErrorKind::Client, "this process is stopping"))
}

/// Keeps the connection.
struct Keeper {
    client: Client,
    link: watch::Sender<Link>,
    useless: watch::Receiver<u64>,
}

impl Keeper {
    /// Runs until nobody shares the connection any more.
    async fn keep(mut self) {
        let mut outage = Outage::default();
        let mut backoff = Backoff::default();
        for number in 1.. {
            let began = Instant::now();
            let opened = tokio::select! {
                opened = open(&self.client) => opened,
                () = self.link.closed() => return,
            };
            let pause = match opened {
                Ok(connection) => {
                    outage.over();
                    backoff = Backoff::default();
                    self.link.send_replace(Link::Open(number, connection.clone()));
                    tokio::select! {
                        () = Self::until_useless(&mut self.useless, number, connection) => {}
                        () = self.link.closed() => return,
                    }
                    self.link.send_replace(Link::Opening);
                    LEAST_BETWEEN.saturating_sub(began.elapsed())
                }
                Err(error) => {
                    outage.note(&error);
                    self.link.send_replace(Link::Refused(error));
                    backoff.next_pause()
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.link.closed() => return,
            }
        }
    }

    /// Waits until a caller found the connection of no use, or it does not answer any more.
    async fn until_useless(useless: &mut watch::Receiver<u64>, number: u64, mut connection: MultiplexedConnection) {
        let fell_silent = async {
            loop {
                sleep(ASK_EVERY).await;
                if ask(&mut connection, Pipeline::new()).await.is_err() {
                    return;
                }
            }
        };
        let found = async {
            if useless.wait_for(|newest| *newest >= number).await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! { () = fell_silent => {}, () = found => {} }
    }
}

/// An outage, told when it begins, when its reason changes, and when it is over. What fails before anything worked is
/// told by who asked for the connection.
#[derive(Default)]
struct Outage {
    worked: bool,
    since: Option<(Instant, String)>,
}

impl Outage {
    fn note(&mut self, error: &RedisError) {
        let reason = describe(error);
        let is_news = self.since.as_ref().is_none_or(|(_, told)| *told != reason);
        if self.worked && is_news {
            tracing::warn!(error = reason, "no connection to Redis can be opened; trying again until it works");
        }
        let began = self.since.take().map_or_else(Instant::now, |(began, _)| began);
        self.since = Some((began, reason));
    }

    fn over(&mut self) {
        if let Some((began, _)) = self.since.take()
            && self.worked
        {
            tracing::info!(seconds = began.elapsed().as_secs_f64(), "Redis answers again");
        }
        self.worked = true;
    }
}
