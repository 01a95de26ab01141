//! What a program says of its attempts.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The attempts of one run, by name.
pub(crate) struct Attempts(BTreeMap<String, String>);

/// What a path answers that is not to be seen: not there, or not allowed.
pub(crate) const HIDDEN: &str = "ENOENT EACCES EPERM";

impl Attempts {
    /// The attempts that a log tells of.
    pub(crate) fn of(log: &str) -> Self {
        let lines = log.lines().filter_map(|line| {
            let (name, verdict) = [": denied ", ": DONE ", ": raised "].iter().find_map(|mark| {
                let at = line.find(mark)?;
                Some((&line[..at], &line[at + 2..]))
            })?;
            Some((name.to_owned(), verdict.to_owned()))
        });
        Self(lines.collect())
    }

    /// Checks that these were the attempts, and no others.
    ///
    /// Each row names attempts and what may have come of them: words of which one must follow `denied`, or the
    /// beginning of a verdict that begins with `DONE`, or both with ` or ` between.
    ///
    /// # Panics
    /// If any went otherwise; the message tells of all that did.
    pub(crate) fn expect(mut self, rows: &[(&str, &[&str])]) {
        let mut wrong = String::new();
        for (allowed, names) in rows {
            for name in *names {
                match self.0.remove(*name) {
                    None => writeln!(wrong, "{name}: was not tried, or is named twice"),
                    Some(verdict) if fits(&verdict, allowed) => Ok(()),
                    Some(verdict) => writeln!(wrong, "{name}: {verdict}, instead of {allowed}"),
                }
                .expect("a string takes it");
            }
        }
        for (name, verdict) in self.0 {
            writeln!(wrong, "{name}: {verdict}, which nobody judged").expect("a string takes it");
        }
        assert!(wrong.is_empty(), "attempts that went otherwise:\n{wrong}");
    }
}

fn fits(verdict: &str, allowed: &str) -> bool {
    match verdict.strip_prefix("denied ") {
        Some(reason) if allowed.starts_with('"') => reason == allowed.trim_matches('"'),
        Some(reason) => allowed.split(' ').any(|word| word == reason),
        None => allowed.split(" or ").any(|one| one.starts_with("DONE") && verdict.starts_with(one)),
    }
}

#[test]
fn a_verdict_is_one_of_those_allowed_or_none() {
    let log = "a: denied EPERM\nb: DONE 7 names\nnoise\nc d: denied nothing found\n";
    Attempts::of(log).expect(&[("EACCES EPERM", &["a"]), ("DONE 7", &["b"]), ("\"nothing found\"", &["c d"])]);
    assert!(fits("DONE 1", "EPERM or DONE 1") && fits("denied EPERM", "EPERM or DONE 1"));
    assert!(!fits("DONE 3", "EPERM") && !fits("denied EPERM", "DONE") && !fits("raised TypeError", "EPERM"));
}
