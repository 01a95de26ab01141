//! The policy as it is stored: what was ever set, and nothing of what is by default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Policy;
use super::classes::ClassSettings;
use super::invalid::InvalidPolicy;
use super::limits::LimitSettings;
use crate::log::envelope::Envelope;

/// What was set of the policy. What was not is as by default, also when a newer program has other defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySettings {
    /// How long a running job may go without a heartbeat, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// How often a job is run again after the platform failed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// The waits before the first, the second and every later retry, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_backoff_ms: Option<Vec<u64>>,
    /// The resource classes, the first of which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassSettings>>,
    /// What was set of the limits.
    #[serde(flatten)]
    pub limits: LimitSettings,
    /// How long a job's records and files are kept after its end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// How long a submission is kept that no job ever was of, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission_ttl_ms: Option<u64>,
}

/// The stored policy, as the fold of its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// How many events it has had.
    pub version: u64,
    /// What was set.
    pub settings: PolicySettings,
}

/// What can happen to the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum PolicyEvent {
    /// It is this from now on.
    #[serde(rename = "policy.changed")]
    Changed(PolicySettings),
}

impl PolicyEvent {
    /// The name under which it is stored.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Changed(_) => "policy.changed",
        }
    }
}

impl PolicySettings {
    /// These settings, and for what they leave open those of `older`.
    #[must_use]
    pub fn over(self, older: &Self) -> Self {
        Self {
            lease_ms: self.lease_ms.or(older.lease_ms),
            max_retries: self.max_retries.or(older.max_retries),
            retry_backoff_ms: self.retry_backoff_ms.or_else(|| older.retry_backoff_ms.clone()),
            classes: self.classes.or_else(|| older.classes.clone()),
            limits: self.limits.over(&older.limits),
            retention_ms: self.retention_ms.or(older.retention_ms),
            submission_ttl_ms: self.submission_ttl_ms.or(older.submission_ttl_ms),
        }
    }

    /// Checks what a program may set.
    ///
    /// # Errors
    /// Which setting would not work, in a sentence.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let refuse = |rule: &str, given: String| Err(InvalidPolicy(format!("{rule}, not {given}").into()));
        if let Some(lease) = self.lease_ms.filter(|lease| !(1_000..=HOUR_MS).contains(lease)) {
            return refuse("LEASE must be 1s to 1h", shown(lease));
        }
        if let Some(waits) = self.retry_backoff_ms.as_ref().filter(|waits| !(1..=10).contains(&waits.len())) {
            return refuse("RETRY_BACKOFF must be 1 to 10 waits", waits.len().to_string());
        }
        if let Some(wait) = self.retry_backoff_ms.iter().flatten().find(|wait| **wait > HOUR_MS) {
            return refuse("a wait of RETRY_BACKOFF must be at most 1h", shown(*wait));
        }
        let classes = self.classes.as_deref();
        if classes.is_some_and(<[ClassSettings]>::is_empty) {
            return Err(InvalidPolicy("RESOURCE_CLASSES must name a class".into()));
        }
        classes.unwrap_or_default().iter().try_for_each(ClassSettings::check)?;
        if let Some(kept) = self.retention_ms.filter(|kept| *kept < 1_000) {
            return refuse("RETENTION must be at least 1s", shown(kept));
        }
        if let Some(kept) = self.submission_ttl_ms.filter(|kept| *kept < 1_000) {
            return refuse("SUBMISSION_TTL must be at least 1s", shown(kept));
        }
        self.limits.check()
    }

    /// The policy they make.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = Policy { limits: self.limits.limits(), ..Policy::default() };
        if let Some(lease_ms) = self.lease_ms {
            policy.lease = Duration::from_millis(lease_ms);
        }
        if let Some(max_retries) = self.max_retries {
            policy.max_retries = max_retries;
        }
        if let Some(waits) = &self.retry_backoff_ms {
            policy.retry_backoff = waits.iter().copied().map(Duration::from_millis).collect();
        }
        if let Some(retention_ms) = self.retention_ms {
            policy.retention = Duration::from_millis(retention_ms);
        }
        if let Some(submission_ttl_ms) = self.submission_ttl_ms {
            policy.submission_ttl = Duration::from_millis(submission_ttl_ms);
        }
        if let Some(classes) = &self.classes
            && let Some(first) = classes.first()
        {
            policy.default_class = first.name.clone();
            policy.classes = classes.iter().map(|class| (class.name.clone(), class.class())).collect();
        }
        policy
    }
}

const HOUR_MS: u64 = 3_600_000;

/// `10ms`, `2h`: a time as it can be set.
fn shown(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % HOUR_MS == 0 => format!("{}h", ms / HOUR_MS),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// Decides a requested change of the policy. `None` if the policy is so already.
#[must_use]
pub fn decide(record: Option<&PolicyRecord>, requested: &PolicySettings) -> Option<PolicyEvent> {
    let nothing = PolicySettings::default();
    let before = record.map_or(&nothing, |record| &record.settings);
    let after = requested.clone().over(before);
    (after != *before).then_some(PolicyEvent::Changed(after))
}

/// Folds one event into the stored policy.
#[must_use]
pub fn evolve(envelope: &Envelope<PolicyEvent>) -> PolicyRecord {
    let PolicyEvent::Changed(settings) = &envelope.event;
    PolicyRecord { version: envelope.seq, settings: settings.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays() {
        let lease = PolicySettings { lease_ms: Some(5_000), ..PolicySettings::default() };
        let Some(PolicyEvent::Changed(first)) = decide(None, &lease) else { panic!("no event") };
        let record = PolicyRecord { version: 1, settings: first };
        assert_eq!(decide(Some(&record), &lease), None, "it is so already");
        let retries = PolicySettings { max_retries: Some(7), ..PolicySettings::default() };
        let Some(PolicyEvent::Changed(second)) = decide(Some(&record), &retries) else { panic!("no event") };
        let policy = second.policy();
        assert_eq!((policy.lease, policy.max_retries), (Duration::from_secs(5), 7));
        assert_eq!(policy.classes, Policy::default().classes);
    }

    #[test]
    fn a_setting_that_would_not_work_is_named() {
        let bad = [
            (PolicySettings { lease_ms: Some(10), ..PolicySettings::default() }, "LEASE must be 1s to 1h, not 10ms"),
            (
                PolicySettings { lease_ms: Some(7_200_000), ..PolicySettings::default() },
                "LEASE must be 1s to 1h, not 2h",
            ),
            (PolicySettings { retention_ms: Some(0), ..PolicySettings::default() }, "at least 1s, not 0s"),
            (PolicySettings { retry_backoff_ms: Some(vec![]), ..PolicySettings::default() }, "1 to 10 waits, not 0"),
            (PolicySettings { retry_backoff_ms: Some(vec![3_601_000]), ..PolicySettings::default() }, "not 3601s"),
            (PolicySettings { classes: Some(vec![]), ..PolicySettings::default() }, "RESOURCE_CLASSES"),
        ];
        for (settings, culprit) in bad {
            assert!(settings.check().is_err_and(|error| error.to_string().contains(culprit)), "{settings:?}");
        }
    }
}
