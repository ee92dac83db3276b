//! Who may use the gateway.

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{Gateway, error::ApiError};

/// What a caller must show. Only the secret's hash is kept, so that neither its text nor its length can leak.
#[derive(Clone)]
pub(crate) struct Auth {
    secret_hash: Option<[u8; 32]>,
}

/// A caller who showed what is asked for.
pub(crate) struct Authenticated;

impl Auth {
    /// Everybody may come in.
    pub(crate) fn open() -> Self {
        Self { secret_hash: None }
    }

    /// Whoever knows the secret may come in.
    pub(crate) fn secret(secret: &str) -> Self {
        Self { secret_hash: Some(Sha256::digest(secret).into()) }
    }

    /// Compares in constant time.
    pub(crate) fn accepts(&self, bearer: &str) -> bool {
        let Some(expected) = &self.secret_hash else { return true };
        let hash: [u8; 32] = Sha256::digest(bearer).into();
        hash.ct_eq(expected).into()
    }

    fn check(&self, headers: &HeaderMap) -> Result<Authenticated, ApiError> {
        let is_accepted = match bearer(headers) {
            Some(bearer) => self.accepts(bearer),
            None => self.secret_hash.is_none(),
        };
        if is_accepted { Ok(Authenticated) } else { Err(ApiError::unauthenticated()) }
    }
}

/// The bearer token: the scheme in any case, spaces around it ignored, nothing as if absent.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = std::str::from_utf8(headers.get(AUTHORIZATION)?.as_bytes()).ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl FromRequestParts<Gateway> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        gateway.inner.auth.check(&parts.headers)
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.secret_hash.is_some() { "Auth(secret)" } else { "Auth(open)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_bearer_is_let_in() {
        let auth = Auth::secret("secret");
        let check = |value: Option<&'static str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
            }
            assert_eq!(auth.check(&headers).is_ok(), expected, "{value:?}");
        };
        check(Some("Bearer secret"), true);
        check(Some("  bEaReR   secret  "), true);
        check(Some("Bearer Secret"), false);
        check(Some("Bearer secret2"), false);
        check(Some("Bearer "), false);
        check(Some("Basic secret"), false);
        check(Some("secret"), false);
        check(None, false);
    }
}
