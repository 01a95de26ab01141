//! Bringing what the tracker has not got yet into it: one process at a time, for all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use events::ports::{LeaderLease, NoteOf, PortError, TrackingError};
use events::{Fence, JobId};
use metrics::{Gauge, counter, gauge};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::Tracker;
use super::backlog::{AT_ONCE, Backlog, End, Try};
use super::line::{Line, Size};
use super::settle::{Unsettled, settle};
use super::sweep::sweep;
use crate::outage::Outage;
use crate::session::Session;

/// How often is looked for ends, and for whose turn it is.
const TICK: Duration = Duration::from_secs(1);
/// How long a turn lasts that is not taken again.
const TURN: Duration = Duration::from_secs(10);
/// How many with much to send are brought into the tracker at once.
const LARGE_AT_ONCE: usize = AT_ONCE / 2;

/// Runs until it is aborted.
pub(crate) async fn run(session: Arc<Session>) {
    let Some(tracker) = session.tracker.clone() else { return };
    let mut drain = Drain {
        tracker,
        backlog: Backlog::default(),
        line: Line::default(),
        under_way: JoinSet::new(),
        ends: HashMap::new(),
        large: HashSet::new(),
        turn: None,
        told: None,
        swept: None,
        sweeping: None,
        session,
    };
    // Who looks at a job meanwhile is to see that somebody is there.
    if let Err(error) = drain.take_turn().await {
        tracing::debug!(%error, "the first turn could not be taken");
    }
    if let Err(error) = drain.tracker.config.port.check().await {
        drain.tracker.breaker.open();
        tracing::warn!(%error, "the tracker can't be used; runs are recorded when it can");
    }
    let mut outage = Outage::of("looking for runs to record");
    loop {
        match drain.look().await {
            Ok(()) => outage.over(),
            Err(error) => outage.note(&error),
        }
        drain.wait().await;
    }
}

struct Drain {
    session: Arc<Session>,
    tracker: Arc<Tracker>,
    backlog: Backlog,
    line: Line,
    under_way: JoinSet<Result<bool, Unsettled>>,
    ends: HashMap<Id, End>,
    /// Those of them with many bytes or files to send.
    large: HashSet<End>,
    /// When this process's turn was last taken.
    turn: Option<Instant>,
    told: Option<Instant>,
    swept: Option<Instant>,
    sweeping: Option<AbortOnDropHandle<()>>,
}

impl Drain {
    /// Begins what may be begun, if it is this process's turn.
    async fn look(&mut self) -> Result<(), PortError> {
        match self.take_turn().await {
            Ok(true) => self.turn = Some(Instant::now()),
            Ok(false) => {
                // Another process goes through the same ends by now.
                self.break_off();
                return Ok(());
            }
            Err(error) => {
                if self.turn.is_none_or(|taken| taken.elapsed() >= TURN / 2) {
                    self.break_off();
                }
                return Err(error);
            }
        }
        if self.tracker.breaker.take_answer() {
            self.note_answer().await;
        }
        self.tell_waiting().await?;
        self.sweep_if_due();
        self.begin().await
    }

    async fn take_turn(&self) -> Result<bool, PortError> {
        let holder = self.session.config.consumer.as_str();
        self.session.ports.work_state.take_leader_lease(LeaderLease::Tracking, holder, TURN).await
    }

    /// Tells how many jobs wait, once a tick.
    async fn tell_waiting(&mut self) -> Result<(), PortError> {
        if self.told.is_none_or(|told| told.elapsed() >= TICK) {
            let count = self.session.ports.records.count_untracked().await?;
            waiting().set(count as f64);
            self.told = Some(Instant::now());
            if count == 0 && self.backlog.is_outage() {
                // Nothing is left by which it could be seen that it is over.
                self.note_answer().await;
            }
        }
        Ok(())
    }

    /// Leaves everything as it is; what has not ended is read again.
    fn break_off(&mut self) {
        self.under_way.abort_all();
        self.ends.clear();
        self.large.clear();
        self.backlog.drop_under_way();
        self.line.clear();
        self.sweeping = None;
        // Whoever has the turn tells.
        waiting().set(0);
    }

    /// Waits for the next thing to do.
    async fn wait(&mut self) {
        tokio::select! {
            Some(done) = self.under_way.join_next_with_id() => {
                let (id, done) = match done {
                    Ok((id, done)) => (id, done),
                    Err(error) => (error.id(), Err(Unsettled::Log(error.to_string()))),
                };
                // One that was broken off is nobody's any more.
                if let Some(end) = self.ends.remove(&id) {
                    self.large.remove(&end);
                    self.note(&end, done).await;
                }
            }
            () = self.tracker.ended.notified() => {}
            () = sleep(TICK) => {}
        }
    }

    async fn begin(&mut self) -> Result<(), PortError> {
        let mut room = self.backlog.room(Instant::now());
        if room > 0 && self.line.is_short() {
            let sizes = if self.is_crowded() { &[Size::Small][..] } else { &[Size::Small, Size::Large] };
            self.line.read(self.session.ports.records.as_ref(), &self.backlog, sizes).await?;
        }
        while room > 0
            && let Some((end, size)) = self.line.pop()
        {
            if size == Size::Large && self.is_crowded() || !self.backlog.is_due(&end, Instant::now()) {
                continue;
            }
            self.backlog.begin(end.clone());
            let (session, tracker, (job, fence)) = (Arc::clone(&self.session), Arc::clone(&self.tracker), end.clone());
            let task = self.under_way.spawn(async move { settle_or_tell(&session, &tracker, job, &fence).await });
            if size == Size::Large {
                self.large.insert(end.clone());
            }
            self.ends.insert(task.id(), end);
            room -= 1;
        }
        Ok(())
    }

    /// Whether as many with much to send are under way as may be.
    fn is_crowded(&self) -> bool {
        self.large.len() >= LARGE_AT_ONCE
    }

    async fn note(&mut self, end: &End, done: Result<bool, Unsettled>) {
        let (what, label) = match &done {
            Ok(true) => (Try::Settled, "recorded"),
            Ok(false) => (Try::Settled, "known"),
            Err(Unsettled::Tracker(TrackingError::Away(_))) => (Try::Away, "away"),
            Err(Unsettled::Unanswered(_)) => (Try::Failed, "unanswered"),
            Err(Unsettled::Tracker(TrackingError::Refused(_))) => (Try::Failed, "refused"),
            Err(Unsettled::Tracker(TrackingError::Files(_))) => (Try::Failed, "files"),
            Err(Unsettled::Log(_)) => (Try::Failed, "internal"),
        };
        counter!("leadersboard_tracking_total", "outcome" => label).increment(1);
        let was_outage = self.backlog.is_outage();
        let why = done.as_ref().err().map(ToString::to_string);
        if has_answered(&done) {
            self.tracker.breaker.close();
            self.tracker.breaker.take_answer();
            self.note_answer().await;
        } else if matches!(done, Err(Unsettled::Unanswered(_))) {
            // It is there, and the breaker stays as it is: a job that waited would not be answered either.
            self.note_answer().await;
        }
        self.backlog.note(end, what, Instant::now(), self.session.ports.ids.jitter());
        match (what, done) {
            (Try::Away, Err(error)) => {
                self.tracker.breaker.open();
                if !was_outage {
                    tracing::warn!(job = %end.0, %error, "the tracker is away; runs are recorded when it answers");
                }
            }
            (_, Err(error)) => tracing::warn!(job = %end.0, %error, "a run could not be recorded; it is tried again"),
            (_, Ok(_)) => {}
        }
        self.tell_why(end.0, what, why.as_deref()).await;
    }

    /// Notes that the tracker answers. If it was away, it is not any more.
    async fn note_answer(&mut self) {
        let was_outage = self.backlog.is_outage();
        self.backlog.note_answer();
        if was_outage {
            tracing::info!("the tracker answers again; what it has not got yet is recorded");
            self.tell(NoteOf::Tracker, None).await;
        }
    }

    /// Tells those who look at the job, or at any other that waits.
    async fn tell_why(&self, job: JobId, what: Try, why: Option<&str>) {
        match what {
            Try::Settled => {}
            Try::Away if self.backlog.is_outage() => self.tell(NoteOf::Tracker, why).await,
            Try::Away | Try::Failed => self.tell(NoteOf::Job(job), why).await,
        }
    }

    async fn tell(&self, of: NoteOf, why: Option<&str>) {
        if let Err(error) = self.session.ports.tracking_notes.note(of, why).await {
            tracing::debug!(%error, "why a run is not recorded could not be told");
        }
    }

    fn sweep_if_due(&mut self) {
        let is_sweeping = self.sweeping.as_ref().is_some_and(|sweeping| !sweeping.is_finished());
        let is_early = self.swept.is_some_and(|swept| swept.elapsed() < self.tracker.config.sweep_interval);
        if is_sweeping || is_early || self.backlog.is_outage() {
            return;
        }
        self.swept = Some(Instant::now());
        let (session, tracker) = (Arc::clone(&self.session), Arc::clone(&self.tracker));
        self.sweeping = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            match sweep(&session, &tracker, None).await {
                Ok(()) => {}
                // That is told when there is something to record.
                Err(Unsettled::Tracker(TrackingError::Away(error))) => {
                    tracing::debug!(error, "runs that nobody has could not be looked for");
                }
                Err(error) => {
                    tracing::warn!(%error, "runs that nobody has could not be looked for; they are looked for again");
                }
            }
        })));
    }
}

/// Settles an end. Where the tracker answers something else and not this, it is not away: it is this one that is wrong, or the
/// tracker answers only those who read.
async fn settle_or_tell(session: &Session, tracker: &Tracker, job: JobId, fence: &Fence) -> Result<bool, Unsettled> {
    match settle(session, tracker, job, fence).await {
        Err(Unsettled::Tracker(TrackingError::Away(why))) if tracker.config.port.check().await.is_ok() => {
            Err(Unsettled::Unanswered(why))
        }
        other => other,
    }
}

/// Whether the tracker was asked, and answered, be it by a refusal. Files are looked at once the run is there.
const fn has_answered(done: &Result<bool, Unsettled>) -> bool {
    matches!(done, Ok(true) | Err(Unsettled::Tracker(TrackingError::Refused(_) | TrackingError::Files(_))))
}

/// How many jobs have an end that the tracker has not got yet.
fn waiting() -> Gauge {
    gauge!("leadersboard_untracked_runs")
}
