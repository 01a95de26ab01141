//! The resource classes that a worker serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::ClassName;
use events::policy::LivePolicy;

/// The resource classes that a worker serves, as the policy stands at each call.
#[derive(Clone)]
pub(crate) struct ServedClasses {
    /// The only classes to serve. Empty: all classes of the policy.
    only: Vec<ClassName>,
    policy: Arc<LivePolicy>,
}

impl ServedClasses {
    pub(crate) const fn new(only: Vec<ClassName>, policy: Arc<LivePolicy>) -> Self {
        Self { only, policy }
    }

    /// The classes of the policy that this worker serves.
    pub(crate) fn served(&self) -> Vec<ClassName> {
        self.all().into_iter().filter(|class| self.only.is_empty() || self.only.contains(class)).collect()
    }

    /// Every class of the policy, served here or not.
    pub(crate) fn all(&self) -> Vec<ClassName> {
        self.policy.get().classes.keys().cloned().collect()
    }

    /// How many GPUs a job needs, for each class served here that needs any.
    pub(crate) fn gpus_needed(&self) -> BTreeMap<ClassName, usize> {
        let policy = self.policy.get();
        let need = |name: &ClassName| Some((name.clone(), usize::try_from(policy.class(name)?.gpus).ok()?));
        self.served().iter().filter_map(need).filter(|(_, gpus)| *gpus > 0).collect()
    }
}
