//! Breaks things by a schedule, and mends them when their time has come.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use leadersboard_tests::preload::DiskState;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::descriptors::Limited;
use crate::log::Follower;
use crate::schedule::{Fault, Schedule};
use crate::site::{Site, State};
use crate::work_state;

const TICK: Duration = Duration::from_millis(10);
/// How long a worker that is to fall asleep is waited for until one runs a job.
const SOME_WORK: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// What ends a fault.
#[derive(Debug, Clone, Copy)]
enum Mending {
    StartWorker(usize),
    WakeWorker(usize),
    StartApi,
    StartRedis,
    SetClockRight,
    FreeMemory,
    TakeLogins,
    FreeDescriptors(Limited),
    FreeDisk,
    BringBackWorkRoot(usize),
}

/// A fault that was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) fault: Fault,
    pub(crate) at: Instant,
    /// The worker that was met, if one was.
    pub(crate) worker: Option<usize>,
}

/// Breaks things.
#[derive(Debug)]
pub(crate) struct Breaker {
    schedule: std::iter::Peekable<Schedule>,
    began: Instant,
    log: Follower,
    mendings: BTreeMap<(Instant, usize), Mending>,
    /// The faults that were made.
    pub(crate) made: Vec<Made>,
    /// How many could not be made, as what they break was broken already.
    pub(crate) skipped: usize,
    /// How many processes ended without being asked to, and were started again.
    pub(crate) restarts: usize,
}

impl Breaker {
    pub(crate) fn new(seed: u64, log: Follower) -> Self {
        let (made, mendings) = Default::default();
        let schedule = Schedule::of(seed).peekable();
        Self { schedule, began: Instant::now(), log, mendings, made, skipped: 0, restarts: 0 }
    }

    /// Breaks and mends for as long as it is wanted, and then mends the rest, each in its time.
    pub(crate) async fn run(&mut self, site: &mut Site, mut wanted: impl FnMut() -> bool) {
        while wanted() {
            if let Some((_, fault)) = self.schedule.next_if(|(at, _)| self.began.elapsed() >= *at) {
                match self.make(site, fault).await {
                    Some(worker) => self.made.push(Made { fault, at: Instant::now(), worker }),
                    None => self.skipped += 1,
                }
            }
            self.tick(site).await;
        }
        while !self.mendings.is_empty() {
            self.tick(site).await;
        }
    }

    /// Mends what is due, and looks after the processes.
    pub(crate) async fn tick(&mut self, site: &mut Site) {
        while let Some(due) = self.mendings.first_entry().filter(|entry| entry.key().0 <= Instant::now()) {
            let mending = due.remove();
            self.mend(site, mending).await;
        }
        self.restarts += site.tend();
        sleep(TICK).await;
    }

    /// Makes a fault. Nothing if that can't be done just now; else the worker it met, if it was to meet one.
    async fn make(&mut self, site: &mut Site, fault: Fault) -> Option<Option<usize>> {
        match fault {
            Fault::WorkerKilled { pick, down } => {
                let worker = self.victim(site, pick)?;
                site.signal(worker, Signal::SIGKILL, State::Down);
                self.mend_after(down, Mending::StartWorker(worker));
                return Some(Some(worker));
            }
            Fault::WorkerAsleep { pick, asleep } => {
                // One that does nothing could do nothing too late.
                let deadline = Instant::now() + SOME_WORK;
                while self.log.told().open.values().flatten().next().is_none() && Instant::now() < deadline {
                    sleep(TICK).await;
                }
                let worker = self.victim(site, pick)?;
                site.signal(worker, Signal::SIGSTOP, State::Asleep);
                self.mend_after(asleep, Mending::WakeWorker(worker));
                return Some(Some(worker));
            }
            Fault::WorkerDrained { pick } => {
                let worker = self.victim(site, pick)?;
                site.signal(worker, Signal::SIGTERM, State::Draining);
                return Some(Some(worker));
            }
            Fault::ApiKilled { down } => {
                site.api_is_up.then(|| site.kill_api())?;
                self.mend_after(down, Mending::StartApi);
            }
            Fault::RedisKilled { down } => {
                site.redis_is_up.then(|| site.kill_redis())?;
                self.mend_after(down, Mending::StartRedis);
            }
            Fault::ConnectionsCut => site.roles.network().cut(),
            Fault::ConnectionsSilenced => site.roles.network().silence(),
            Fault::ClockAhead { wrong } => {
                site.clock.set_ahead(HOUR);
                self.mend_after(wrong, Mending::SetClockRight);
            }
            Fault::ClockBehind { wrong } => {
                site.clock.set_behind(HOUR);
                self.mend_after(wrong, Mending::SetClockRight);
            }
            Fault::MemoryFull { full } => {
                work_state::limit_memory(&mut site.redis().await?, 1).await.ok()?;
                self.mend_after(full, Mending::FreeMemory);
            }
            Fault::LoginsRefused { refused } => {
                work_state::refuse_logins(&mut site.redis().await?).await.ok()?;
                self.mend_after(refused, Mending::TakeLogins);
            }
            Fault::DescriptorsTaken { pick, taken } => {
                let limited = Limited::now(*work_state::pick(&site.processes(), pick)?)?;
                self.mend_after(taken, Mending::FreeDescriptors(limited));
            }
            Fault::DiskFull { full } => {
                site.disk.set(DiskState::Full);
                self.mend_after(full, Mending::FreeDisk);
            }
            Fault::WorkRootGone { pick, gone } => {
                let worker = self.victim(site, pick)?;
                site.take_work_root(worker)?;
                self.mend_after(gone, Mending::BringBackWorkRoot(worker));
                return Some(Some(worker));
            }
            Fault::GroupDestroyed
            | Fault::ScriptsFlushed
            | Fault::ConsumerDeleted { .. }
            | Fault::TicketDoubled { .. }
            | Fault::TicketOfGarbage { .. }
            | Fault::TicketForNoJob
            | Fault::TicketDeleted { .. }
            | Fault::LeasesDeleted
            | Fault::EntryUnreadable { .. } => {
                let open: Vec<String> = self.log.told().open.keys().cloned().collect();
                work_state::damage(&mut site.redis().await?, fault, &open).await.ok()?;
            }
        }
        Some(None)
    }

    /// A worker that is up: one that runs jobs, if there is one.
    fn victim(&self, site: &Site, pick: u64) -> Option<usize> {
        let up = |worker: &usize| site.workers[*worker].state == State::Up;
        let up: Vec<usize> = (0..site.workers.len()).filter(up).collect();
        let told = self.log.told();
        let runs = |worker: &usize| {
            let prefix = format!("w{worker}-");
            told.open.values().flatten().any(|name| name.starts_with(&prefix))
        };
        let busy: Vec<usize> = up.iter().copied().filter(runs).collect();
        work_state::pick(if busy.is_empty() { &up } else { &busy }, pick).copied()
    }

    fn mend_after(&mut self, time: Duration, mending: Mending) {
        self.mendings.insert((Instant::now() + time, self.made.len()), mending);
    }

    async fn mend(&mut self, site: &mut Site, mending: Mending) {
        match mending {
            Mending::StartWorker(worker) => site.start_worker(worker),
            Mending::WakeWorker(worker) => site.signal(worker, Signal::SIGCONT, State::Up),
            Mending::StartApi => site.start_api(),
            Mending::StartRedis => site.start_redis().await,
            Mending::SetClockRight => site.clock.set_ahead(Duration::ZERO),
            Mending::FreeMemory => {
                let freed = match site.redis().await {
                    Some(mut redis) => work_state::limit_memory(&mut redis, 0).await.is_ok(),
                    // A Redis that was killed has forgotten its limit.
                    None => !site.redis_is_up,
                };
                if !freed {
                    self.mend_after(TICK, mending);
                }
            }
            Mending::TakeLogins => {
                let taken = match site.redis().await {
                    Some(mut redis) => work_state::take_logins(&mut redis).await.is_ok(),
                    // A Redis that was killed has forgotten its password.
                    None => !site.redis_is_up,
                };
                if !taken {
                    self.mend_after(TICK, mending);
                }
            }
            Mending::FreeDescriptors(limited) => limited.free(),
            Mending::FreeDisk => site.disk.set(DiskState::Healthy),
            Mending::BringBackWorkRoot(worker) => site.bring_back_work_root(worker),
        }
    }
}
