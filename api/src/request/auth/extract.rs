//! Gives handlers the caller.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::authenticator::Authenticator;
use super::bearer::bearer;
use super::caller::Caller;
use crate::answer::error::Error;

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let token = bearer(&parts.headers)?;
        let caller = Arc::<Authenticator>::from_ref(state).caller(token, parts).await?;
        tracing::Span::current().record("user", caller.user.as_str());
        Ok(caller)
    }
}
