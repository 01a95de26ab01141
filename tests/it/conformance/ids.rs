//! Identities are never drawn twice, and those of jobs are in the order of time.

use std::collections::BTreeSet;

use adapters::ids::SystemIds;
use events::ports::Ids;

fn conforms(ids: &dyn Ids) {
    let fences: BTreeSet<_> = (0..10_000).map(|_| ids.fence()).collect();
    assert_eq!(fences.len(), 10_000);
    let jobs: Vec<_> = (0..10_000).map(|_| ids.job()).collect();
    assert!(jobs.is_sorted(), "ids are in the order in which they were drawn");
    assert_eq!(jobs.iter().collect::<BTreeSet<_>>().len(), 10_000);
    assert!((0..1_000).map(|_| ids.jitter()).all(|jitter| (0.8..=1.2).contains(&jitter)));
}

#[test]
fn system_ids() {
    conforms(&SystemIds);
}
