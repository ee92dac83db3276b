//! The session that a path names.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use shared::SessionKey;

use crate::{Gateway, caller::Caller, error::ApiError};

/// A session that the caller may see, if there is one. Its key follows the rules of the session key's header.
pub(crate) struct Addressed {
    pub(super) caller: Caller,
    pub(super) key: SessionKey,
}

impl Addressed {
    /// The key as the caller knows it.
    pub(super) fn id(&self) -> &str {
        self.key.seen_from(self.caller.namespace())
    }
}

impl FromRequestParts<Gateway> for Addressed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, gateway).await?;
        let Path(text) = Path::<String>::from_request_parts(parts, gateway)
            .await
            .map_err(|_| ApiError::invalid_value("key", "must be UTF-8, URL-encoded"))?;
        let agents = gateway.inner.directory.agents().await?;
        let (key, _) = caller.session(&text, &agents, "key")?;
        Ok(Self { caller, key })
    }
}
