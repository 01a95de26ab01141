//! How a run stands: how far it is, and how its numbers went.

use std::collections::BTreeMap;
use std::time::Duration;

use events::ports::{Curve, Progress, ProgressReport};

use super::lines::Marker;
use super::series::Series;

/// The most numbers whose curves a program can have.
const MAX_NAMES: usize = 50;

/// How a run stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    progress: Told<Option<Progress>>,
    /// What the program tells.
    told: BTreeMap<String, Series>,
    /// What the platform sees.
    seen: BTreeMap<&'static str, Series>,
    curves: Told<()>,
}

/// Something, and whether it is to be reported.
#[derive(Debug, Default)]
struct Told<T> {
    now: T,
    is_news: bool,
}

/// Which part of a standing is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All that is news.
    All,
    /// How far it is; curves have to wait.
    Progress,
}

impl Standing {
    /// Takes in what the program tells, so long after its start.
    pub(super) fn hear(&mut self, marker: Marker, at: Duration) {
        match marker {
            Marker::Progress(progress) => {
                self.progress.is_news |= self.progress.now.as_ref() != Some(&progress);
                self.progress.now = Some(progress);
            }
            Marker::Metric { name, value, step } => {
                if self.told.len() >= MAX_NAMES && !self.told.contains_key(&name) {
                    return;
                }
                let at = step.unwrap_or_else(|| rounded(at.as_secs_f64(), 1e3));
                self.told.entry(name).or_default().push(at, value);
                self.curves.is_news = true;
            }
        }
    }

    /// Takes in what the platform sees, so long after the program's start.
    pub(super) fn see(&mut self, name: &'static str, at: Duration, value: f64) {
        self.seen.entry(name).or_default().push(rounded(at.as_secs_f64(), 10.0), rounded(value, 10.0));
        self.curves.is_news = true;
    }

    /// What is to be reported now; `None` if there is no news.
    pub(super) fn news(&mut self, part: Part) -> Option<ProgressReport> {
        let progress = if std::mem::take(&mut self.progress.is_news) { self.progress.now.clone() } else { None };
        let with_curves = part == Part::All && std::mem::take(&mut self.curves.is_news);
        let curves = with_curves.then(|| self.all_curves());
        (progress.is_some() || curves.is_some()).then_some(ProgressReport { progress, curves, stage: None })
    }

    /// A report did not arrive: what it told is news still.
    pub(super) fn give_back(&mut self, report: &ProgressReport) {
        self.progress.is_news |= report.progress.is_some();
        self.curves.is_news |= report.curves.is_some();
    }

    /// Whether there is news of the curves.
    pub(super) fn curves_wait(&self) -> bool {
        self.curves.is_news
    }

    fn all_curves(&self) -> Vec<Curve> {
        let told = self.told.iter().map(|(name, series)| series.curve(name));
        let mut curves: Vec<Curve> = told.chain(self.seen.iter().map(|(name, series)| series.curve(name))).collect();
        curves.sort_by(|one, other| one.name.cmp(&other.name));
        curves
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
