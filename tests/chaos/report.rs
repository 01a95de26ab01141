//! What came of a campaign: a table for people, a file for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use leadersboard_tests::board::binary;
use serde_json::{Value, json};

use crate::load::Answers;
use crate::log::End;
use crate::schedule::Fault;
use crate::settings::Settings;
use crate::verdict::Verdict;
use crate::words::Words;

/// How many examples of a kind of failure are told.
const EXAMPLES: usize = 10;

/// What came of a campaign.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) settings: Settings,
    pub(crate) answers: Answers,
    pub(crate) verdict: Verdict,
    pub(crate) words: Words,
    /// The faults that were made, and when, since the campaign began to break things.
    pub(crate) made: Vec<(Duration, Fault)>,
    pub(crate) skipped: usize,
    pub(crate) restarts: usize,
    /// What does not hold and must.
    pub(crate) broken: Vec<String>,
    pub(crate) events: u64,
    pub(crate) injected: Duration,
    pub(crate) took: Duration,
}

impl Report {
    /// Whether everything held.
    pub(crate) fn holds(&self) -> bool {
        self.failures().is_empty()
    }

    /// What did not hold, in sentences.
    fn failures(&self) -> Vec<String> {
        let kinds = [
            ("accepted and lost", &self.verdict.lost),
            ("finished twice", &self.verdict.finished_twice),
            ("ended as its program can't", &self.verdict.wrong_ends),
            ("answered as no client should be", &self.answers.refused),
            ("said and no JSON", &self.words.unreadable),
        ];
        let told = kinds.into_iter().filter(|(_, found)| !found.is_empty());
        let examples = |found: &[String]| found.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join("\n    ");
        let told = told.map(|(what, found)| format!("{what}: {}\n    {}", found.len(), examples(found)));
        told.chain(self.broken.iter().cloned()).collect()
    }

    /// How often each fault was made.
    fn faults(&self) -> BTreeMap<&'static str, usize> {
        let mut faults = BTreeMap::new();
        self.made.iter().for_each(|(_, fault)| *faults.entry(fault.name()).or_default() += 1);
        faults
    }

    fn ended(&self, end: End) -> usize {
        self.verdict.ends.get(&end).copied().unwrap_or(0)
    }

    fn slowest_recovery_s(&self) -> f64 {
        self.verdict.slowest_recovery.as_ref().map_or(0.0, |(time, _)| time.as_secs_f64())
    }

    /// Writes it for programs, and gives the file's path.
    ///
    /// # Panics
    /// If the build's folder is not writable.
    pub(crate) fn write(&self) -> PathBuf {
        let binary = binary();
        let target = binary.ancestors().nth(2).expect("it is in a profile's folder of the build's");
        let path = target.join("chaos.json");
        std::fs::write(&path, format!("{:#}\n", self.document())).expect("the build's folder is writable");
        path
    }

    fn document(&self) -> Value {
        json!({
            "seed": self.settings.seed,
            "accepted": self.answers.accepted.len(),
            "completed": self.ended(End::Completed),
            "failed": self.ended(End::Failed),
            "cancelled": self.ended(End::Cancelled),
            "dead_letters": self.ended(End::DeadLettered),
            "lost": self.verdict.lost.len(),
            "finished_twice": self.verdict.finished_twice.len(),
            "wrong_ends": self.verdict.wrong_ends.len(),
            "cut_away": self.verdict.cut_away,
            "answers_cut_away": self.answers.cut_away,
            "accepted_untold": self.verdict.untold,
            "late_writes_refused": self.verdict.late_writes_refused,
            "writes_refused_after_force": self.verdict.writes_refused_after_force,
            "repairs": self.words.repairs,
            "faults": self.faults(),
            "faults_skipped": self.skipped,
            "schedule": self.made.iter().map(|(at, fault)| format!("{:.1} s: {fault}", at.as_secs_f64())).collect::<Vec<_>>(),
            "restarts": self.restarts,
            "errors_logged": self.words.errors,
            "gave_up": self.words.gave_up,
            "starts_of_a_job": self.verdict.starts,
            "events": self.events,
            "slowest_recovery_s": self.slowest_recovery_s(),
            "slowest_to_recover": self.verdict.slowest_recovery.as_ref().map(|(_, job)| job),
            "injected_s": self.injected.as_secs_f64(),
            "took_s": self.took.as_secs_f64(),
            "failures": self.failures(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "  {name:<28} {value:>8}");
        row("seed", &self.settings.seed)?;
        row("accepted", &self.answers.accepted.len())?;
        row("  completed", &self.ended(End::Completed))?;
        row("  failed", &self.ended(End::Failed))?;
        row("  cancelled", &self.ended(End::Cancelled))?;
        row("  dead letters", &self.ended(End::DeadLettered))?;
        row("  lost", &self.verdict.lost.len())?;
        row("finished twice", &self.verdict.finished_twice.len())?;
        row("answers cut away", &self.answers.cut_away)?;
        row("accepted, nobody told", &self.verdict.untold)?;
        row("late writes refused", &self.verdict.late_writes_refused)?;
        row("writes refused after force", &self.verdict.writes_refused_after_force)?;
        row("slowest recovery, s", &format!("{:.1}", self.slowest_recovery_s()))?;
        row("faults skipped", &self.skipped)?;
        row("processes started again", &self.restarts)?;
        row("events in the log", &self.events)?;
        row("seconds of faults", &format!("{:.0}", self.injected.as_secs_f64()))?;
        row("seconds in all", &format!("{:.0}", self.took.as_secs_f64()))?;
        tally(f, "faults", &self.faults())?;
        tally(f, "repairs", &self.words.repairs)?;
        tally(f, "starts of a job", &self.verdict.starts)?;
        tally(f, "errors logged", &self.words.errors)?;
        tally(f, "roles that gave up", &self.words.gave_up)?;
        if self.verdict.late_writes_refused == 0 {
            writeln!(f, "No late write was tried: this campaign proves nothing about them.")?;
        }
        for failure in self.failures() {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

fn tally<K: fmt::Display, V: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    counts: &BTreeMap<K, V>,
) -> fmt::Result {
    writeln!(f, "{title}:")?;
    counts.iter().try_for_each(|(name, count)| writeln!(f, "  {name:<28} {count:>8}"))
}
