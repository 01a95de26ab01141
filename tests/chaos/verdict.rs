//! What became of the jobs, told from the clients' own list and the log, and from nothing that the program counts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::breaker::Made;
use crate::load::Answers;
use crate::log::{End, Happened, Seen, Stories};
use crate::programs;
use crate::schedule::Fault;
use crate::words::Words;

/// What became of the jobs.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How the accepted jobs ended.
    pub(crate) ends: HashMap<End, usize>,
    /// Accepted, and the log neither ended them nor knows them.
    pub(crate) lost: Vec<String>,
    /// How many of these have left no event at all.
    pub(crate) cut_away: usize,
    /// More than one end, and no replay in between.
    pub(crate) finished_twice: Vec<String>,
    /// An end that their program can't have come to.
    pub(crate) wrong_ends: Vec<String>,
    /// In the log although no client was told so.
    pub(crate) untold: usize,
    /// Ends that a run wanted to record after its lease had been ended.
    pub(crate) late_writes_refused: usize,
    /// Ends that a run wanted to record after the job had been cancelled by force.
    pub(crate) writes_refused_after_force: usize,
    /// The longest time from the fault that a run fell to, or from the end of its lease, to the job's next start.
    pub(crate) slowest_recovery: Option<(Duration, String)>,
    /// How often each number of starts occurred.
    pub(crate) starts: BTreeMap<usize, usize>,
}

/// Judges a campaign. `stories` are the log's, read at the end; `watched` are the same with true times.
pub(crate) fn judge(answers: &Answers, stories: &Stories, watched: &Stories, made: &[Made], words: &Words) -> Verdict {
    let mut verdict = Verdict::default();
    for accepted in &answers.accepted {
        let story = stories.get(&accepted.job).map_or(&[][..], Vec::as_slice);
        verdict.cut_away += usize::from(story.is_empty());
        let Some(end) = end_of(story) else {
            verdict.lost.push(accepted.job.clone());
            continue;
        };
        *verdict.ends.entry(end).or_default() += 1;
        let possible = match end {
            End::Completed => programs::succeeds(accepted.program),
            End::Failed => !programs::succeeds(accepted.program),
            End::Cancelled => accepted.cancelled,
            End::DeadLettered => true,
        };
        if !possible {
            verdict.wrong_ends.push(format!("{}: {end:?}", accepted.job));
        }
    }
    for (job, story) in stories {
        if finished_twice(story) {
            verdict.finished_twice.push(job.clone());
        }
        *verdict.starts.entry(story.iter().filter(|seen| is_start(seen)).count()).or_default() += 1;
    }
    let told: HashSet<&str> = answers.accepted.iter().map(|accepted| accepted.job.as_str()).collect();
    verdict.untold = stories.keys().filter(|job| !told.contains(job.as_str())).count();
    for refused in &words.refused {
        let story = stories.get(&refused.job).map_or(&[][..], Vec::as_slice);
        if was_lost(story, refused.attempt) {
            verdict.late_writes_refused += 1;
        } else {
            verdict.writes_refused_after_force += 1;
        }
    }
    let recoveries =
        watched.iter().flat_map(|(job, story)| recoveries(story, made).map(move |time| (time, job.clone())));
    verdict.slowest_recovery = recoveries.max();
    verdict
}

fn end_of(story: &[Seen]) -> Option<End> {
    story.iter().fold(None, |end, seen| match seen.what {
        Happened::Ended(new) => Some(new),
        Happened::Replayed => None,
        Happened::Started(_) | Happened::LeaseLost | Happened::Other => end,
    })
}

fn finished_twice(story: &[Seen]) -> bool {
    let mut ends = 0;
    for seen in story {
        match seen.what {
            Happened::Ended(_) => ends += 1,
            Happened::Replayed => ends = 0,
            Happened::Started(_) | Happened::LeaseLost | Happened::Other => {}
        }
        if ends > 1 {
            return true;
        }
    }
    false
}

const fn is_start(seen: &Seen) -> bool {
    matches!(seen.what, Happened::Started(_))
}

/// Whether this start of a job came to its end by the loss of its lease.
fn was_lost(story: &[Seen], attempt: usize) -> bool {
    let mut starts = 0;
    let of_this_start = story.iter().filter(|seen| {
        starts += usize::from(is_start(seen));
        starts == attempt
    });
    of_this_start.into_iter().any(|seen| seen.what == Happened::LeaseLost)
}

/// How long each lost run of a job took to be followed by another.
fn recoveries<'a>(story: &'a [Seen], made: &'a [Made]) -> impl Iterator<Item = Duration> + 'a {
    let mut run: Option<(&str, Instant)> = None;
    let mut broken: Option<Instant> = None;
    story.iter().filter_map(move |seen| match &seen.what {
        Happened::Started(worker) => {
            run = Some((worker, seen.at));
            broken.take().map(|broken| seen.at - broken)
        }
        Happened::LeaseLost => {
            let (worker, began) = run?;
            broken = Some(first_fault(made, worker, began, seen.at).unwrap_or(seen.at));
            None
        }
        Happened::Ended(_) => {
            broken = None;
            None
        }
        Happened::Replayed | Happened::Other => None,
    })
}

/// When the first of the faults that end runs met a worker, between these times.
fn first_fault(made: &[Made], worker: &str, from: Instant, to: Instant) -> Option<Instant> {
    let ends_runs = |fault: &Fault| matches!(fault, Fault::WorkerKilled { .. } | Fault::WorkerAsleep { .. });
    let met = |made: &&Made| made.worker.is_some_and(|number| worker.starts_with(&format!("w{number}-")));
    let faults = made.iter().filter(met).filter(|made| ends_runs(&made.fault)).map(|made| made.at);
    faults.filter(|at| (from..=to).contains(at)).min()
}
