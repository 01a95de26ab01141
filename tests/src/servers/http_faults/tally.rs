//! What was asked of the proxy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::call::Call;

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How often each call was made.
    pub(super) calls: HashMap<Call, u64>,
    /// How many of them met a fault.
    pub(super) struck: u64,
    /// How many are not answered yet, whether or not anybody waits.
    pub(super) under_way: u64,
}

/// Counts a request while it is not answered.
pub(super) struct UnderWay(Arc<Mutex<Tally>>);

impl UnderWay {
    pub(super) fn of(tally: &Arc<Mutex<Tally>>) -> Self {
        tally.lock().expect("nobody panics with it").under_way += 1;
        Self(Arc::clone(tally))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().expect("nobody panics with it").under_way -= 1;
    }
}
