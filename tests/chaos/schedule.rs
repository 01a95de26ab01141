//! What breaks, and when: a function of the seed.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;

/// One fault. Durations say how long it lasts; a `pick` chooses among what there is at the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL of a worker, which is started again after a while.
    WorkerKilled { pick: u64, down: Duration },
    /// SIGSTOP of a worker past its lease, then SIGCONT.
    WorkerAsleep { pick: u64, asleep: Duration },
    /// SIGTERM of a worker, which is started again once it has ended.
    WorkerDrained { pick: u64 },
    /// SIGKILL of the API, which is started again after a while.
    ApiKilled { down: Duration },
    /// SIGKILL of Redis, which is started again after a while.
    RedisKilled { down: Duration },
    /// Every connection to Redis is cut.
    ConnectionsCut,
    /// Every connection to Redis stays open and carries nothing any more.
    ConnectionsSilenced,
    /// The group of the work stream is destroyed.
    GroupDestroyed,
    /// Every script is forgotten.
    ScriptsFlushed,
    /// A consumer of the work stream is deleted, with all it holds.
    ConsumerDeleted { pick: u64 },
    /// A job gets a second ticket.
    TicketDoubled { pick: u64 },
    /// A ticket that can't be read.
    TicketOfGarbage { pick: u64 },
    /// A ticket for a job that there is not.
    TicketForNoJob,
    /// A ticket is deleted.
    TicketDeleted { pick: u64 },
    /// All leases are deleted.
    LeasesDeleted,
    /// Redis's wall clock is an hour ahead for a while.
    ClockAhead { wrong: Duration },
    /// Redis's wall clock is an hour behind for a while.
    ClockBehind { wrong: Duration },
    /// Redis is at its memory limit for a while.
    MemoryFull { full: Duration },
    /// Redis wants a password that no role has, and cuts every connection.
    LoginsRefused { refused: Duration },
    /// A worker, or the API, can't open a file or a connection more for a while.
    DescriptorsTaken { pick: u64, taken: Duration },
    /// The disk takes no byte more from workers and the API for a while.
    DiskFull { full: Duration },
    /// Something that can't be read stands among the leases, the open jobs or the delayed ones.
    EntryUnreadable { pick: u64 },
    /// A plain file stands where a worker's work root was, for a while.
    WorkRootGone { pick: u64, gone: Duration },
}

impl Fault {
    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled { .. } => "worker_killed",
            Self::WorkerAsleep { .. } => "worker_asleep",
            Self::WorkerDrained { .. } => "worker_drained",
            Self::ApiKilled { .. } => "api_killed",
            Self::RedisKilled { .. } => "redis_killed",
            Self::ConnectionsCut => "connections_cut",
            Self::ConnectionsSilenced => "connections_silenced",
            Self::GroupDestroyed => "group_destroyed",
            Self::ScriptsFlushed => "scripts_flushed",
            Self::ConsumerDeleted { .. } => "consumer_deleted",
            Self::TicketDoubled { .. } => "ticket_doubled",
            Self::TicketOfGarbage { .. } => "ticket_of_garbage",
            Self::TicketForNoJob => "ticket_for_no_job",
            Self::TicketDeleted { .. } => "ticket_deleted",
            Self::LeasesDeleted => "leases_deleted",
            Self::ClockAhead { .. } => "clock_ahead",
            Self::ClockBehind { .. } => "clock_behind",
            Self::MemoryFull { .. } => "memory_full",
            Self::LoginsRefused { .. } => "logins_refused",
            Self::DescriptorsTaken { .. } => "descriptors_taken",
            Self::DiskFull { .. } => "disk_full",
            Self::EntryUnreadable { .. } => "entry_unreadable",
            Self::WorkRootGone { .. } => "work_root_gone",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::WorkerKilled { down: lasts, .. }
        | Self::WorkerAsleep { asleep: lasts, .. }
        | Self::ApiKilled { down: lasts }
        | Self::RedisKilled { down: lasts }
        | Self::ClockAhead { wrong: lasts }
        | Self::ClockBehind { wrong: lasts }
        | Self::MemoryFull { full: lasts }
        | Self::LoginsRefused { refused: lasts }
        | Self::DescriptorsTaken { taken: lasts, .. }
        | Self::DiskFull { full: lasts }
        | Self::WorkRootGone { gone: lasts, .. }) = self
        else {
            return f.write_str(self.name());
        };
        write!(f, "{} for {:.1} s", self.name(), lasts.as_secs_f64())
    }
}

/// The faults of a seed, each with its time since the campaign's begin, without end.
///
/// They come in decks: each holds every fault once, sleeping workers three times, silenced connections only now and
/// then, in an order of its own. So a short campaign meets them nearly all.
#[derive(Debug)]
pub(crate) struct Schedule {
    chance: Chance,
    deck: Vec<Fault>,
    at: Duration,
}

impl Schedule {
    /// The schedule of this seed.
    pub(crate) fn of(seed: u64) -> Self {
        Self { chance: Chance::new(seed, 1), deck: vec![], at: Duration::from_secs(1) }
    }
}

impl Iterator for Schedule {
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        if self.deck.is_empty() {
            self.deck = deck(&mut self.chance);
        }
        let at = self.at;
        self.at += self.chance.millis(200, 1_600);
        self.deck.pop().map(|fault| (at, fault))
    }
}

fn deck(chance: &mut Chance) -> Vec<Fault> {
    // A lease is two seconds, and whoever ends it must first have watched it for as long.
    let asleep =
        |chance: &mut Chance| Fault::WorkerAsleep { pick: chance.number(), asleep: chance.millis(3_500, 7_000) };
    let mut deck = vec![
        asleep(chance),
        asleep(chance),
        asleep(chance),
        Fault::WorkerKilled { pick: chance.number(), down: chance.millis(0, 4_000) },
        Fault::WorkerKilled { pick: chance.number(), down: chance.millis(0, 500) },
        Fault::WorkerDrained { pick: chance.number() },
        Fault::ApiKilled { down: chance.millis(0, 1_000) },
        Fault::RedisKilled { down: chance.millis(0, 2_000) },
        Fault::ConnectionsCut,
        Fault::GroupDestroyed,
        Fault::ScriptsFlushed,
        Fault::ConsumerDeleted { pick: chance.number() },
        Fault::TicketDoubled { pick: chance.number() },
        Fault::TicketOfGarbage { pick: chance.number() },
        Fault::TicketForNoJob,
        Fault::TicketDeleted { pick: chance.number() },
        Fault::LeasesDeleted,
        Fault::ClockAhead { wrong: chance.millis(500, 5_000) },
        Fault::ClockBehind { wrong: chance.millis(500, 5_000) },
        Fault::MemoryFull { full: chance.millis(100, 1_000) },
        Fault::LoginsRefused { refused: chance.millis(500, 3_000) },
        Fault::DescriptorsTaken { pick: chance.number(), taken: chance.millis(500, 3_000) },
        Fault::DiskFull { full: chance.millis(500, 3_000) },
        Fault::EntryUnreadable { pick: chance.number() },
        Fault::EntryUnreadable { pick: chance.number() },
        Fault::WorkRootGone { pick: chance.number(), gone: chance.millis(1_000, 4_000) },
    ];
    // It takes everything up to twenty seconds to notice: more of it, and nothing else would be met.
    if chance.below(3) == 0 {
        deck.push(Fault::ConnectionsSilenced);
    }
    chance.shuffle(&mut deck);
    deck
}
