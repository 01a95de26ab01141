//! How a number went, in few points however many there were.

use events::ports::Curve;

/// The most points of a series. Once it has so many, every other one is left out.
pub(super) const MAX_POINTS: usize = 500;

/// A number as it went, in ascending order of steps or seconds.
///
/// The first and the newest point are always there, and of those between every `stride`th.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    points: Vec<(f64, f64)>,
    /// Every how many points one is kept.
    stride: u64,
    /// How many points came since the last that is kept.
    since: u64,
    newest: Newest,
}

/// What to do with the newest point when another comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newest {
    Stays,
    Goes,
}

impl Default for Series {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, since: 0, newest: Newest::Stays }
    }
}

impl Series {
    /// Adds a point. It takes the place of all that are not before it: a program may go back to an earlier step.
    pub(super) fn push(&mut self, at: f64, value: f64) {
        let point = (at, value);
        match self.points.last_mut() {
            Some(last) if last.0 < at => {}
            #[expect(clippy::float_cmp, reason = "the very same step was told again")]
            Some(last) if last.0 == at => {
                last.1 = value;
                return;
            }
            Some(_) => self.go_back(at),
            None => {}
        }
        if self.points.is_empty() {
            *self = Self { points: vec![point], ..Self::default() };
            return;
        }
        if self.newest == Newest::Goes {
            self.points.pop();
        }
        self.points.push(point);
        self.since += 1;
        self.newest = Newest::Goes;
        if self.since >= self.stride {
            self.since = 0;
            self.newest = Newest::Stays;
        }
        if self.points.len() >= MAX_POINTS {
            self.halve();
        }
    }

    fn go_back(&mut self, at: f64) {
        self.points.truncate(self.points.partition_point(|point| point.0 < at));
        // In place of one that was to stay comes one that stays.
        self.since = match self.newest {
            Newest::Stays => self.stride - 1,
            Newest::Goes => 0,
        };
        self.newest = Newest::Stays;
    }

    /// Leaves out every other point, but not the newest.
    fn halve(&mut self) {
        let newest = self.points.pop();
        let mut index = 0;
        self.points.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        self.points.extend(newest);
        // An even number of points ends with one that would be left out.
        if self.newest == Newest::Stays {
            self.since = self.stride;
            self.newest = Newest::Goes;
        }
        self.stride = self.stride.saturating_mul(2);
    }

    pub(super) fn curve(&self, name: &str) -> Curve {
        Curve { name: name.to_owned(), points: self.points.clone() }
    }

    #[cfg(test)]
    pub(super) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(series: &Series) -> Vec<f64> {
        series.points().iter().map(|point| point.0).collect()
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers, and the very ones that were told")]
    fn of_many_points_the_first_the_newest_and_evenly_some_between_are_kept() {
        let mut series = Series::default();
        for n in 0..1_000_000 {
            series.push(f64::from(n), f64::from(n) * 2.0);
            assert!(series.points().len() < MAX_POINTS);
            assert_eq!(series.points().last().unwrap().0, f64::from(n));
        }
        let steps = steps(&series);
        assert_eq!(steps[0], 0.0);
        assert!(steps.len() > MAX_POINTS / 2 - 2, "{}", steps.len());
        let stride = steps[1];
        let even = steps[..steps.len() - 1].windows(2).all(|pair| pair[1] - pair[0] == stride);
        assert!(even, "{steps:?}");
        assert!(series.points().iter().all(|(at, value)| *value == at * 2.0));
    }

    #[test]
    fn a_step_told_again_replaces_what_was_told_of_it_and_of_all_after_it() {
        let mut series = Series::default();
        for n in [1.0, 2.0, 3.0, 3.0, 4.0, 2.0, 5.0] {
            series.push(n, n);
        }
        assert_eq!(steps(&series), [1.0, 2.0, 5.0]);
        series.push(0.0, 9.0);
        assert_eq!(series.points(), [(0.0, 9.0)]);
    }

    #[test]
    fn two_that_tell_the_same_steps_in_turn_leave_a_curve() {
        let mut series = Series::default();
        for n in 0..10_000 {
            series.push(f64::from(n + 1), 1.0);
            series.push(f64::from(n), 2.0);
            series.push(f64::from(n), 3.0);
        }
        assert!(series.points().len() > MAX_POINTS / 4, "{}", series.points().len());
        assert!(steps(&series).is_sorted());
    }
}
