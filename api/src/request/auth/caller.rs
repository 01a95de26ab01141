//! The caller, as handlers see them.

use events::{Actor, UserId};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sees their own jobs and submissions.
    User,
    /// Sees everybody's.
    Admin,
}

/// The sender of a request, known by their token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) role: Role,
}

impl Caller {
    /// Whether what belongs to `owner` may be shown to them.
    pub(crate) fn may_see(&self, owner: &UserId) -> bool {
        match self.role {
            Role::Admin => true,
            Role::User => self.user == *owner,
        }
    }

    /// Themselves, as events name them.
    pub(crate) fn actor(&self) -> Actor {
        Actor::User(self.user.clone())
    }
}
