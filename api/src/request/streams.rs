//! How many streams each user follows on this server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use events::UserId;

use crate::answer::error::Error;
use crate::request::auth::Caller;
use crate::request::auth::authenticator::Authenticator;

/// The open streams of each user who has any.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    open: Mutex<HashMap<UserId, usize>>,
}

/// The place of one stream, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    streams: Arc<Streams>,
    user: UserId,
}

impl Streams {
    /// At most so many for each user.
    pub(crate) fn at_most(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// Takes a place, if the user has one free.
    pub(crate) fn enter(self: &Arc<Self>, user: &UserId) -> Result<StreamPlace, Error> {
        let mut open = self.open();
        let count = open.get(user).copied().unwrap_or(0);
        if count >= self.most {
            return Err(Error::TooManyStreams(self.most));
        }
        open.insert(user.clone(), count + 1);
        Ok(StreamPlace { streams: Arc::clone(self), user: user.clone() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        match open.get_mut(&self.user) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.user)),
        }
    }
}

impl<S> FromRequestParts<S> for StreamPlace
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
    Arc<Streams>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Arc::<Streams>::from_ref(state).enter(&caller.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_places_of_their_own_and_an_ended_stream_frees_its_place() {
        let streams = Arc::new(Streams::at_most(2));
        let [alice, bob]: [UserId; 2] = ["alice", "bob"].map(|name| name.parse().unwrap());
        let first = streams.enter(&alice).unwrap();
        let second = streams.enter(&alice).unwrap();
        assert!(matches!(streams.enter(&alice), Err(Error::TooManyStreams(2))));
        let other = streams.enter(&bob).unwrap();
        drop(first);
        let third = streams.enter(&alice).unwrap();
        assert!(streams.enter(&alice).is_err());
        drop((second, third, other));
        assert!(streams.open().is_empty(), "nothing is kept of those who follow nothing");
    }
}
