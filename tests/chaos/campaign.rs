//! One campaign, from its first process to its report.

use std::time::{Duration, Instant};

use leadersboard_tests::invariants::{Expect, check};
use projections::Keyspace;
use redis::aio::MultiplexedConnection;

use crate::breaker::Breaker;
use crate::load::Load;
use crate::log::{self, Follower};
use crate::report::Report;
use crate::settings::Settings;
use crate::site::Site;
use crate::{leftovers, verdict, words, work_state};

const PROGRESS: Duration = Duration::from_secs(5);

/// Runs one, and tells what came of it.
pub(crate) async fn run(settings: Settings) -> Report {
    let began = Instant::now();
    let mut site = Site::start(settings.workers).await;
    let log = Follower::of(&site.roles.redis.url());
    let load = Load::prepare(settings, site.client(), log.clone()).await;
    let mut breaker = Breaker::new(settings.seed, log.clone());

    let clients = tokio::spawn(load.clone().run());
    let mut told = Instant::now();
    let injecting = Instant::now();
    breaker
        .run(&mut site, || {
            if told.elapsed() > PROGRESS {
                told = Instant::now();
                eprintln!(
                    "{:>5.0} s: {} accepted, {} open",
                    began.elapsed().as_secs_f64(),
                    load.accepted(),
                    open(&log)
                );
            }
            let elapsed = injecting.elapsed();
            elapsed < settings.duration || (!clients.is_finished() && elapsed < settings.longest())
        })
        .await;
    let injected = injecting.elapsed();
    while !clients.is_finished() {
        breaker.tick(&mut site).await;
    }
    clients.await.expect("the clients");
    let rest = settle(&mut breaker, &mut site, &log, settings.bound).await;

    let mut redis = site.roles.redis.connection().await;
    let stories = log::stories(&mut redis).await.expect("the log");
    let mut broken = rest;
    broken.extend(leftovers::of(site.roles.data.path()).await);
    broken.extend(invariants(&site).await);
    let (answers, words) = (load.answers(), words::read(&site.said()));
    let verdict = verdict::judge(&answers, &stories, &log.told().stories, &breaker.made, &words);
    let report = Report {
        settings,
        answers,
        verdict,
        words,
        made: breaker.made.iter().map(|made| (made.at - injecting, made.fault)).collect(),
        skipped: breaker.skipped,
        restarts: breaker.restarts,
        broken,
        events: log.told().entries,
        injected,
        took: began.elapsed(),
    };
    if report.holds() && !settings.keep {
        site.remove();
    } else {
        keep_log(&site, &mut redis).await;
        eprintln!("everything is kept in {} and {}", site.roles.data.path().display(), site.said().display());
    }
    report
}

fn open(log: &Follower) -> usize {
    log.told().open.len()
}

/// Waits until every job has ended and no ticket is left; what is still there at the bound.
async fn settle(breaker: &mut Breaker, site: &mut Site, log: &Follower, bound: Duration) -> Vec<String> {
    let (began, mut told) = (Instant::now(), Instant::now());
    loop {
        let tickets = match site.redis().await {
            Some(mut redis) => tickets(&mut redis).await,
            None => None,
        };
        let open = open(log);
        if open == 0 && tickets == Some(0) {
            return vec![];
        }
        if began.elapsed() > bound {
            return vec![format!("{open} jobs open and {tickets:?} tickets left after {bound:?} without a fault")];
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            eprintln!("nothing breaks any more: {open} jobs are open, tickets: {tickets:?}");
        }
        breaker.tick(site).await;
    }
}

async fn tickets(redis: &mut MultiplexedConnection) -> Option<usize> {
    redis::cmd("XLEN").arg(work_state::QUEUE).query_async(redis).await.ok()
}

/// What does not hold of what must hold always, if anything.
async fn invariants(site: &Site) -> Option<String> {
    let url = site.roles.redis.url();
    let checked =
        tokio::spawn(async move { check(&url, &Keyspace::default(), Expect::AllEndedWhateverTheClock).await });
    let panic = checked.await.err()?.into_panic();
    let message = panic.downcast_ref::<String>().cloned();
    Some(message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

/// Keeps the log as text beside the rest.
async fn keep_log(site: &Site, redis: &mut MultiplexedConnection) {
    let entries = log::entries(redis).await.expect("the log");
    let lines = entries.iter().map(|entry| {
        let field = |name: &str| entry.get::<String>(name).unwrap_or_default();
        let fields = ["at", "agg", "seq", "type", "actor", "data"].map(field);
        format!("{} {}\n", entry.id, fields.join(" "))
    });
    let written = std::fs::write(site.roles.data.path().join("events.txt"), lines.collect::<String>());
    written.expect("the data directory is writable");
}
