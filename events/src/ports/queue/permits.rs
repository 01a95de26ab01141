//! What a worker may claim: no ticket without a slot, and none without the GPUs that its class needs.

use std::collections::BTreeMap;

use crate::id::ClassName;

/// What a worker may claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permits {
    slots: usize,
    /// How many jobs more each GPU can take.
    gpus: Vec<usize>,
    /// How many GPUs a job of each class needs; none of one that is not named.
    needs: BTreeMap<ClassName, usize>,
}

impl Permits {
    /// So many jobs, none of which needs a GPU.
    #[must_use]
    pub const fn of_slots(slots: usize) -> Self {
        Self { slots, gpus: vec![], needs: BTreeMap::new() }
    }

    /// So many jobs, as far as there are GPUs for those whose class needs some.
    #[must_use]
    pub const fn new(slots: usize, gpus: Vec<usize>, needs: BTreeMap<ClassName, usize>) -> Self {
        Self { slots, gpus, needs }
    }

    /// How many jobs of a class there is room for.
    #[must_use]
    pub fn for_class(&self, class: &ClassName) -> usize {
        let need = self.need(class);
        let fits =
            |jobs: &usize| need == 0 || self.gpus.iter().map(|free| free.min(jobs)).sum::<usize>() >= need * jobs;
        (1..=self.slots).take_while(fits).last().unwrap_or(0)
    }

    /// Counts a job of a class, on those GPUs that can take the most.
    pub fn take(&mut self, class: &ClassName) {
        self.slots = self.slots.saturating_sub(1);
        self.gpus.sort_by_key(|free| std::cmp::Reverse(*free));
        let need = self.need(class);
        self.gpus.iter_mut().take(need).for_each(|free| *free = free.saturating_sub(1));
    }

    /// How many jobs of any class at most.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.slots
    }

    fn need(&self, class: &ClassName) -> usize {
        self.needs.get(class).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str) -> ClassName {
        name.parse().unwrap()
    }

    fn permits(slots: usize, gpus: &[usize]) -> Permits {
        let needs = [("one", 1), ("two", 2)].map(|(name, gpus)| (class(name), gpus));
        Permits::new(slots, gpus.to_vec(), BTreeMap::from(needs))
    }

    fn room(permits: &Permits) -> [usize; 3] {
        ["none", "one", "two"].map(|name| permits.for_class(&class(name)))
    }

    #[test]
    fn a_class_has_room_where_there_are_a_slot_and_gpus_for_it() {
        assert_eq!(room(&Permits::of_slots(3)), [3, 3, 3]);
        assert_eq!(room(&permits(4, &[])), [4, 0, 0]);
        assert_eq!(room(&permits(4, &[1])), [4, 1, 0]);
        assert_eq!(room(&permits(4, &[1, 1])), [4, 2, 1]);
        assert_eq!(room(&permits(1, &[1, 1])), [1, 1, 1]);
        assert_eq!(room(&permits(0, &[1, 1])), [0, 0, 0]);
    }

    #[test]
    fn a_job_has_no_gpu_twice_however_many_may_share_it() {
        assert_eq!(room(&permits(9, &[4])), [9, 4, 0]);
        assert_eq!(room(&permits(9, &[3, 1])), [9, 4, 1]);
    }

    #[test]
    fn what_is_taken_is_no_longer_there() {
        let mut permits = permits(3, &[1, 1, 1]);
        permits.take(&class("two"));
        assert_eq!(room(&permits), [2, 1, 0]);
        permits.take(&class("none"));
        assert_eq!(room(&permits), [1, 1, 0]);
    }
}
