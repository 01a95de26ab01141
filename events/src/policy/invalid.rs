//! Why a policy is refused.

use std::borrow::Cow;

/// A policy that would not work. The sentence names the setting and its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPolicy(pub(super) Cow<'static, str>);
